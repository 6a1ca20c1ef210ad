"""API keys that cancel on disconnect, and their leases: owner of the `keys:` family.

| key | type | holds |
|---|---|---|
| `keys:connected:<epoch>` | sorted set | ids of keys with open WebSockets, by when they count no more (epoch ms) |

Each server process renews the leases of its own sockets' keys, which changes their scores.  A lease whose score stays
as it is has nobody who renews it, however its sockets went: only that is judged (orders/flow/disconnects.py), because
two clocks may differ, and one may be set.  What Redis has lost is no disconnect: a new epoch begins without leases.
"""

from collections.abc import Collection
from typing import Any

from django.conf import settings

from orders.stores.scripts import LUA
from routing import epochs
from routing.store import lua, now_ms, redis, script

RENEW_EVERY_S = 1.0
KEPT_S = 86_400
"""How long the set of an epoch stays after its last renewal."""

FORGET_LEASE = script(lua(LUA / "forget_lease.lua"))


def renew(keys: Collection[int]) -> None:
    """Have these keys count as connected until ENGINE_DISCONNECT_GRACE_S after the next renewal is due."""
    name = leases_now()
    if name and keys:
        until = now_ms() + int(1000 * (settings.DISCONNECT_GRACE_S + RENEW_EVERY_S))
        pipe = redis().pipeline(transaction=False)
        pipe.zadd(name, dict.fromkeys(map(str, keys), until))
        pipe.expire(name, KEPT_S)
        pipe.execute()


def leases() -> dict[int, float]:
    """Return the score of each key's lease."""
    name = leases_now()
    found: Any = redis().zrange(name, 0, -1, withscores=True) if name else ()
    return {int(key): score for key, score in found}


def forget(key: int, score: float) -> bool:
    """Drop a lease unless it was renewed since it had this score; return whether it is gone."""
    name = leases_now()
    return bool(name and FORGET_LEASE()([name], [key, int(score)]))


def leases_now() -> str | None:
    """Return the Redis key of the current epoch; None while none has begun."""
    epoch = epochs.read()
    return f"keys:connected:{epoch}" if epoch else None
