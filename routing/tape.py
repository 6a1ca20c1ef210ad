"""The tape, the market's record of events: owner of every `market:` key.

`market:events` is the stream of all events; whoever acts on them reads it through the consumer group `sniper`.
`market:{mint}` is a hash of the token's pools and their worth, `market:{mint}:trades` a sorted set of what was traded,
by time; the braces are literal.  Both depend only on which events there were, not on their order or how often one came.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import structlog

from engine.triggers import WINDOW_MAX_S, TokenState
from routing.group import Group
from routing.store import CLOCK, script

log = structlog.get_logger(__name__)

EVENTS = "market:events"
GROUP = "sniper"
group = Group(EVENTS, GROUP)

EVENTS_MAX = 50_000
"""Entries the stream keeps, about; older ones are forgotten, read or not."""
KEEP_S = 7 * 86_400
"""How long a token's state outlives its last event."""
TRADES_MAX = 50_000
"""Trades kept of one token; of more, the newest."""
POOLS_MAX = 200
"""Pools counted of one token; the worth of further ones comes with the next reading."""


class EventKind(StrEnum):
    """What can happen to a token."""

    POOL = "pool"
    """A pool was created; the amount is what it holds, which adds to the token's liquidity."""
    LIQUIDITY = "liquidity"
    """A reading: all pools of the token together are worth the amount now."""
    TRADE = "trade"
    """The amount was traded."""


@dataclass(frozen=True, slots=True)
class MarketEvent:
    """Something that happened to a token: `amount` in US cents, `at` in epoch milliseconds by the store's clock.

    `id` is what tells two events apart: the same one published again changes nothing.
    """

    id: str
    kind: EventKind
    mint: str
    venue: str
    amount: int
    at: int


Entry = tuple[str, MarketEvent]
"""An event under the id it has in the stream, by which it is acknowledged."""

# The worth is the newest reading, and the pools that are newer than it; a reading of the same millisecond has seen the
# pool.  So events may come late, twice or in any order.  Lua's numbers are exact up to 2^53 cents.
PUBLISH = script(
    CLOCK
    + """
local oldest = now - tonumber(ARGV[2])
local maxlen, keep, trades_max, pools_max = ARGV[1], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

local function count_pool(key, id, amount, at)
  local known = tonumber(redis.call('HGET', key, 'pools') or '0')
  if known < pools_max then redis.call('HSETNX', key, 'pool:' .. id, at .. ':' .. amount) end
end

local function take_reading(key, id, amount, at)
  local known = redis.call('HMGET', key, 'read_at', 'read_id')
  local read_at = tonumber(known[1] or '-1')
  if tonumber(at) > read_at or (tonumber(at) == read_at and id >= known[2]) then
    redis.call('HSET', key, 'read', amount, 'read_at', at, 'read_id', id)
  end
end

local function add_up(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  local worth, pools, read_at = tonumber(fields.read or '0'), 0, tonumber(fields.read_at or '-1')
  local latest = read_at
  for name, value in pairs(fields) do
    if string.sub(name, 1, 5) == 'pool:' then
      local at, amount = string.match(value, '^(%d+):(%d+)$')
      pools = pools + 1
      if tonumber(at) > read_at then worth = worth + tonumber(amount) end
      latest = math.max(latest, tonumber(at))
    end
  end
  redis.call('HSET', key, 'pools', pools, 'liquidity', string.format('%.0f', worth),
    'liquidity_at', string.format('%.0f', latest))
end

for i = 6, #ARGV, 6 do
  local id, kind, mint, venue, amount, at = ARGV[i], ARGV[i+1], ARGV[i+2], ARGV[i+3], ARGV[i+4], ARGV[i+5]
  local key = 'market:{' .. mint .. '}'
  local trades = key .. ':trades'
  if kind == 'trade' then
    redis.call('ZADD', trades, at, id .. ':' .. amount)
    redis.call('ZREMRANGEBYSCORE', trades, '-inf', string.format('%.0f', oldest))
    redis.call('ZREMRANGEBYRANK', trades, 0, -(trades_max + 1))
    redis.call('EXPIRE', trades, keep)
  else
    if kind == 'pool' then count_pool(key, id, amount, at) else take_reading(key, id, amount, at) end
    add_up(key)
  end
  redis.call('EXPIRE', key, keep)
  redis.call('XADD', 'market:events', 'MAXLEN', '~', maxlen, '*',
    'id', id, 'kind', kind, 'mint', mint, 'venue', venue, 'amount', amount, 'at', at)
end
"""
)

# What is traded or worth something has a pool, also when the news of it was lost with Redis.
STATES = script(
    """
local now, answers, i = tonumber(ARGV[1]), {}, 2
while i <= #ARGV do
  local key, windows = 'market:{' .. ARGV[i] .. '}', tonumber(ARGV[i+1])
  local known = redis.call('HMGET', key, 'pools', 'liquidity')
  local pools = tonumber(known[1] or '0')
  if pools == 0 and (tonumber(known[2] or '0') > 0 or redis.call('EXISTS', key .. ':trades') == 1) then pools = 1 end
  local answer = {pools, known[2] or ''}
  for w = 1, windows do
    local after = string.format('(%.0f', now - tonumber(ARGV[i+1+w]))
    local sum = 0
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', key .. ':trades', after, ARGV[1])) do
      sum = sum + tonumber(string.match(member, ':(%d+)$'))
    end
    answer[#answer+1] = string.format('%.0f', sum)
  end
  answers[#answers+1] = answer
  i = i + 2 + windows
end
return answers
"""
)


def publish(events: Iterable[MarketEvent]) -> None:
    """Tell the market's readers of these events and bring the tokens' states up to date, in one step.

    Repeated after a lost reply it changes no state; readers get the events again.
    """
    parts: list[str | int] = []
    for event in events:
        parts += [event.id, event.kind, event.mint, event.venue, event.amount, event.at]
    if parts:
        PUBLISH()([], [EVENTS_MAX, WINDOW_MAX_S * 1000, KEEP_S, TRADES_MAX, POOLS_MAX, *parts])


def states(asked: Mapping[str, Iterable[int]], now: int) -> dict[str, TokenState]:
    """Return each token's state, by mint, with what was traded in the windows asked for, in one round trip.

    A window of so many milliseconds is (now - window, now].
    """
    windows = {mint: list(dict.fromkeys(lengths)) for mint, lengths in asked.items()}
    if not windows:
        return {}
    parts = [part for mint, lengths in windows.items() for part in (mint, len(lengths), *lengths)]
    answers = STATES()([], [now, *parts])
    return {
        mint: TokenState(int(pools), int(worth) if worth else None, dict(zip(lengths, map(int, sums), strict=True)))
        for (mint, lengths), (pools, worth, *sums) in zip(windows.items(), answers, strict=True)
    }


def rounds(reader: str) -> Iterator[list[Entry]]:
    """Yield batches of events: those a dead reader left, those this one has not acknowledged, then new ones.

    Each entry comes once; one that is not acknowledged comes again with the next call, here or, after a while, to
    another reader.
    """
    group.take_over(reader)
    after = "0"
    while entries := group.read(reader, after):
        after = entries[-1][0]
        if events := readable(entries):
            yield events
    while entries := group.read(reader, ">"):
        if events := readable(entries):
            yield events


def readable(entries: Iterable[tuple[str, dict[str, str]]]) -> list[Entry]:
    """Read entries; one that cannot be read is logged and acknowledged, so that it comes to nobody again."""
    events: list[Entry] = []
    for entry_id, fields in entries:
        try:
            events.append((entry_id, event_from(fields)))
        except (KeyError, ValueError) as reason:
            # One that was trimmed away before it was read comes without fields.
            log.error("market event cannot be read", entry=entry_id, content=str(fields)[:500], reason=repr(reason))
            group.ack([entry_id])
    return events


def event_from(fields: Mapping[str, str]) -> MarketEvent:
    """Read an event written by `publish`.

    Raises KeyError or ValueError for what is none.
    """
    return MarketEvent(
        id=fields["id"],
        kind=EventKind(fields["kind"]),
        mint=fields["mint"],
        venue=fields["venue"],
        amount=int(fields["amount"]),
        at=int(fields["at"]),
    )
