"""API keys that cancel on disconnect, and until when each counts as connected: owner of the `keys:` family.

| key | type | holds |
|---|---|---|
| `keys:connected:<epoch>` | sorted set | ids of keys with open WebSockets, by when their lease ends (epoch ms) |

Each server process renews the leases of its own sockets' keys. A lease that nobody renews ends, however its sockets
went. What Redis has lost is no disconnect: a new epoch begins without leases.
"""

from collections.abc import Collection

from django.conf import settings

from routing import epochs
from routing.store import now_ms, redis

RENEW_EVERY_S = 1.0
KEPT_S = 86_400
"""How long the set of an epoch stays after its last renewal."""


def renew(keys: Collection[int]) -> None:
    """Have these keys count as connected until ENGINE_DISCONNECT_GRACE_S after the next renewal is due."""
    leases = leases_now()
    if leases and keys:
        until = now_ms() + int(1000 * (settings.DISCONNECT_GRACE_S + RENEW_EVERY_S))
        pipe = redis().pipeline(transaction=False)
        # Another server's clock may be ahead.
        pipe.zadd(leases, dict.fromkeys(map(str, keys), until), gt=True)
        pipe.expire(leases, KEPT_S)
        pipe.execute()


def lapsed() -> list[int]:
    """Return the keys whose lease has ended."""
    leases = leases_now()
    return [int(str(key)) for key in redis().zrangebyscore(leases, "-inf", now_ms())] if leases else []


def forget(key: int) -> None:
    """Drop a lease; if the key is connected again meanwhile, its next renewal brings it back."""
    if leases := leases_now():
        redis().zrem(leases, str(key))


def leases_now() -> str | None:
    """Return the Redis key of the current epoch; None while none has begun."""
    epoch = epochs.read()
    return f"keys:connected:{epoch}" if epoch else None
