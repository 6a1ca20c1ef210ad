"""The signatures of open attempts by their next lookup time: owner of the sorted set `attempts:open`.

It can be rebuilt from Postgres.  Times are by Redis' clock.
"""

from collections.abc import Iterable, Sequence

from routing.crashpoints import Store, step
from routing.store import CLOCK, redis, script

OPEN = "attempts:open"

# Taking a signature postpones its next lookup: by ARGV[2] ms, or longer when so many are open that looking all of them
# up would exceed ARGV[3] lookups per second.
DUE = script(
    CLOCK
    + """
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
if #found == 0 then return found end
local put_off = math.max(tonumber(ARGV[2]), redis.call('ZCARD', KEYS[1]) * 1000 / tonumber(ARGV[3]))
local args = {}
for i, member in ipairs(found) do args[2*i-1], args[2*i] = now + put_off, member end
redis.call('ZADD', KEYS[1], unpack(args))
return found
"""
)


@step("watch", Store.REDIS, "the signature is scheduled for look-up")
def add(signatures: Iterable[str], in_ms: int, now: int) -> None:
    """Schedule the lookup of these signatures, for the first time in `in_ms`."""
    members = dict.fromkeys(signatures, now + in_ms)
    if members:
        redis().zadd(OPEN, members)


@step("look-up", Store.REDIS, "due signatures are reserved for this caller")
def due(limit: int, next_look_ms: int, looks_per_s: int) -> list[str]:
    """Take signatures that are due for lookup, and postpone their next one, so that replicas share the work."""
    found: list[str] = DUE()([OPEN], [limit, next_look_ms, looks_per_s])
    return found


@step("unwatch", Store.REDIS, "the signature is no longer looked up")
def drop(signatures: Sequence[str]) -> None:
    """Stop looking up these signatures."""
    if signatures:
        redis().zrem(OPEN, *signatures)
