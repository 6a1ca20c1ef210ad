"""The rest of the engine: what its processes do all the time, one after the other, each as often as it is due."""

import base64
import json
from collections.abc import Callable, Iterator

from django.db import InterfaceError, OperationalError
from redis.exceptions import ResponseError

from orders.flow import dbsync, dead_letters, dispatch, execution, limits, recovery, settlement, sniping, sweep, waiting
from routing.chain import ChainUnreachable
from routing.epochs import OVER
from routing.store import StoreError, redis, script
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
    yield sniping.match
    yield look
    yield settlement.audit
    yield recovery.recover
    yield dbsync.drain
    yield lambda: dead_letters.keep(dead_letters.missing())


def look() -> None:
    """Look up signatures until none is due."""
    while settlement.look():
        pass


def messages() -> Iterator[Act]:
    """Take messages out of their queues, one at a time, and yield their tasks."""
    while taken := redis().lmpop(len(dispatch.QUEUES), *dispatch.QUEUES, direction="RIGHT"):
        message = json.loads(taken[1][0])
        named = json.loads(base64.b64decode(message["body"]))[1]
        yield task(message["headers"]["task"], named.get("order_ids", []), named.get("pairs", []))


def task(name: str, order_ids: list[str], pairs: list[str]) -> Act:
    """Return what a worker does with a message."""
    match name:
        case dispatch.EXECUTE:
            return lambda: execution.carry(order_ids)
        case dispatch.FIRE:
            return lambda: [*map(limits.fire, pairs), limits.fire_or_cancel(order_ids)]
        case dispatch.EVALUATE:
            return lambda: sniping.evaluate(order_ids)
        case dispatch.DRAIN:
            return dbsync.drain
        case dispatch.KEEP:
            return lambda: dead_letters.keep(order_ids)
    raise AssertionError(f"a message for {name}")


def is_outage(reason: Exception) -> bool:
    """Tell whether this is something that a worker may meet; what a script of ours says is not."""
    if isinstance(reason, ResponseError):
        return str(reason).startswith(OVER)
    return isinstance(reason, OUTAGES)


def pass_time(pair: str) -> None:
    """Let an hour pass for leases and backoffs, for what is put off, and since attempts were sent."""
    PASS_TIME()([], [HOUR_MS, f"limit_claims:{{{pair}}}"])
    Bench().sql("UPDATE orders_attempt SET sent_at = sent_at - interval '1 hour' WHERE state IN ('prepared', 'sent')")


PASS_TIME = script(
    """
for _, key in ipairs(redis.call('KEYS', 'order:{*}')) do
  if redis.call('TYPE', key).ok == 'hash' then
    for _, name in ipairs({'lease', 'ready'}) do
      -- One that has run out is told apart from none.
      if tonumber(redis.call('HGET', key, name) or '0') > 0 then redis.call('HSET', key, name, 1) end
    end
  end
end
for _, key in ipairs({'orders:open', 'attempts:open', 'waiting:expiring'}) do
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -ARGV[1], member) end
end
local claims = redis.call('HGETALL', ARGV[2])
for i = 1, #claims, 2 do redis.call('HSET', ARGV[2], claims[i], (string.gsub(claims[i+1], '^%d+', '1'))) end
redis.call('DEL', 'orders:rebuilding', 'orders:alone', 'dbsync:nudged')
"""
)
