"""The rest of the engine: what its processes do all the time, one after the other, each as often as it is due."""

import base64
import json
from collections.abc import Callable, Iterator

from django.db import InterfaceError, OperationalError
from redis.exceptions import ResponseError

from orders import archive, deadletters, dispatch, execution, limits, recovery, settlement, sweep, waiting
from orders.live import OPEN, REBUILDING
from orders.models import Attempt
from routing.chain import ChainUnreachable
from routing.epochs import OVER
from routing.store import StoreError, redis
from tests.orders.bench import Bench

Act = Callable[[], object]

OUTAGES = (StoreError, OperationalError, InterfaceError, ChainUnreachable)
"""What a worker may meet and must get over."""
HOUR_MS = 3_600_000


def duties() -> Iterator[Act]:
    """Yield what is done in one round, apart from the tasks of messages."""
    yield sweep.sweep
    yield limits.check
    yield waiting.expire
    yield look
    yield settlement.audit
    yield recovery.recover
    yield archive.drain
    yield lambda: deadletters.keep(deadletters.missing())


def look() -> None:
    """Look up signatures until none is due."""
    while settlement.look():
        pass


def messages() -> Iterator[Act]:
    """Take messages out of their queues, one at a time, and yield their tasks."""
    while taken := next((one for queue in dispatch.QUEUES if (one := redis().rpop(queue))), None):
        message = json.loads(taken)
        named = json.loads(base64.b64decode(message["body"]))[1]
        yield task(message["headers"]["task"], named.get("order_ids", []), named.get("pairs", []))


def task(name: str, order_ids: list[str], pairs: list[str]) -> Act:
    """Return what a worker does with a message."""
    match name:
        case dispatch.EXECUTE:
            return lambda: execution.carry(order_ids)
        case dispatch.FIRE:
            return lambda: [*map(limits.fire, pairs), limits.fire_or_cancel(order_ids)]
        case dispatch.DRAIN:
            return archive.drain
        case dispatch.KEEP:
            return lambda: deadletters.keep(order_ids)
    raise AssertionError(f"a message for {name}")


def is_outage(reason: Exception) -> bool:
    """Tell whether this is something that a worker may meet; what a script of ours says is not."""
    if isinstance(reason, ResponseError):
        return str(reason).startswith(OVER)
    return isinstance(reason, OUTAGES)


def pass_time(order_ids: list[str], pair: str) -> None:
    """Let an hour pass for leases and backoffs, for what is put off, and since attempts were sent."""
    store = redis()
    for order_id in order_ids:
        if store.exists(f"order:{{{order_id}}}"):
            age(order_id)
    for key in (OPEN, "attempts:open", "waiting:expiring"):
        for member in store.zrange(key, 0, -1):
            store.zincrby(key, -HOUR_MS, member)
    claims = f"limit_claims:{{{pair}}}"
    for name, text in store.hgetall(claims).items():
        store.hset(claims, name, "1 " + text.partition(" ")[2])
    store.delete(REBUILDING, "orders:alone", archive.NUDGED)
    Bench().sql("UPDATE orders_attempt SET sent_at = sent_at - interval '1 hour' WHERE state IN ('prepared', 'sent')")


def age(order_id: str) -> None:
    """Let an order's lease and backoff have run out."""
    key = f"order:{{{order_id}}}"
    for name in ("lease", "ready"):
        if int(redis().hget(key, name) or 0):
            redis().hset(key, name, 1)
