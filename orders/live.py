"""The live state of orders in Redis: owner of `order:{id}`, its `:events`, and the `orders:` keys.

| key | type | holds |
|---|---|---|
| `order:{id}` | hash | status, seq, attempt, fence, lease, the order itself; where in the book it rests |
| `order:{id}:events` | stream | the order's events; entry ids are `<seq>-0` |
| `orders:events` | stream | every event of every order, a batch per entry, for servers and DBSync |
| `orders:open` | sorted set | unfinished orders by when somebody must look at them |
| `orders:rebuilt` | string | present unless Redis was emptied since the last rebuild |
| `orders:rebuilding` | string | present while some process rebuilds |

All of it can be rebuilt from Postgres and the chain.  Times are Redis' own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from django.conf import settings

from engine.lifecycle import FINAL, Status
from engine.orders import Order
from engine.triggers import Watch
from orders import bodies, book, lookups
from routing.catalogue import UnknownPair
from routing.store import CLOCK, redis, script

log = structlog.get_logger(__name__)

FEED = "orders:events"
FEED_MAX = 20_000
"""Entries the feed keeps at most; DBSync trims it long before, and recovery feeds again what was cut off unread."""
OPEN = "orders:open"
REBUILT = "orders:rebuilt"
REBUILDING = "orders:rebuilding"
REBUILD_MS = 10_000
"""How long a rebuild may say nothing before another process begins one: a page takes well below a second."""

GRACE_MS = 5_000
"""How long an accepted order may wait for its wake-up before the sweep sends another."""
SUBMITTED_GRACE_MS = 15_000
"""How long a submitted order may stand before the sweep asks what became of it."""
BACKOFF_MAX_MS = 60_000


@dataclass(frozen=True, slots=True)
class Claim:
    """One order in one worker's hands: what is known of it, under the fence that proves the claim."""

    order: Order
    status: Status
    seq: int
    attempt: int
    fence: str
    base: int = 0
    """Attempts made before it last rested; they do not count against those it may make."""
    returns: int = 0
    """How often it has fired in vain."""
    since: int = 0
    """Its turn in the book, if it waits: epoch milliseconds."""
    trail: tuple[str, ...] = ()
    """The JSON of its events after the first, oldest first."""

    @property
    def tries(self) -> int:
        """Count the attempts since the order last rested, this one included."""
        return self.attempt - self.base

    def after(self, status: Status, events: tuple[str, ...]) -> "Claim":
        """Return the claim these events later."""
        return replace(self, status=status, seq=self.seq + len(events), trail=(*self.trail, *events))


@dataclass(frozen=True, slots=True)
class Swap:
    """One compare-and-set on the live state; see ADVANCE."""

    order_id: str
    status: Status
    seq: int
    fence: str
    to: Status
    events: tuple[str, ...]
    """One for each step on the way to `to`."""
    look_in_ms: int
    """When somebody must look again; ignored when `to` is final."""
    keep: bool
    """Whether the claim goes on; otherwise anyone may claim the order once `look_in_ms` have passed."""
    body: str = ""
    """The order's new terms, if it goes back to `pending` with others."""

    @property
    def mode(self) -> str:
        """Name what becomes of the order's claim; see ADVANCE."""
        if self.to in FINAL:
            return "final"
        if self.to is Status.PENDING:
            return "wait"
        if self.to is Status.TRIGGERED:
            return "free"
        return "keep" if self.keep else "release"


@dataclass(frozen=True, slots=True)
class Placement:
    """An order to put into Redis, with the events it already has.

    One that waits rests in the book from then on, in its turn of `since` (epoch ms); with `look_in_ms` above 0 somebody
    looks at it all the same.
    """

    order: Order
    status: Status
    attempt: int
    events: tuple[str, ...]
    look_in_ms: int
    since: int = 0
    base: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """An order as it stands, without a claim on it; `level` is the one at which it rests, `place` where in the book."""

    order: Order
    status: Status
    seq: int
    attempt: int
    returns: int
    since: int
    level: int | None
    place: str


# An order that is already there is left as it is: placing is harmless twice.
PLACE = script(
    CLOCK
    + book.LUA
    + """
local placed, feed, i = {}, {}, 2
while i <= #ARGV do
  local id, status, attempt, look_in, final, body, n =
    ARGV[i], ARGV[i+1], ARGV[i+2], tonumber(ARGV[i+3]), ARGV[i+4], ARGV[i+5], tonumber(ARGV[i+6])
  local waits, base = ARGV[i+7], ARGV[i+8]
  local key = 'order:{' .. id .. '}'
  if redis.call('EXISTS', key) == 0 then
    redis.call('HSET', key, 'status', status, 'seq', n, 'attempt', attempt, 'fence', '', 'lease', 0, 'ready', 0,
      'order', body)
    redis.call('DEL', key .. ':events')
    for s = 1, n do
      redis.call('XADD', key .. ':events', s .. '-0', 'e', ARGV[i+8+s])
      feed[#feed+1] = id .. ' ' .. s .. ' ' .. ((final == '1' and s == n) and '1' or '0') .. ' ' .. ARGV[i+8+s]
    end
    local resting = false
    if waits ~= '' then
      redis.call('HSET', key, 'waits', waits, 'base', base)
      if status == 'pending' then
        local order = cjson.decode(body)
        redis.call('HSET', key, 'place', rest(id, order))
        if order.expiresAt then expire_at(id, order.expiresAt) end
        resting = look_in == 0
      end
    end
    if final ~= '1' and not resting then redis.call('ZADD', 'orders:open', now + look_in, id) end
    placed[#placed+1] = id
  end
  i = i + 9 + n
end
if #feed > 0 then redis.call('XADD', 'orders:events', 'MAXLEN', '~', ARGV[1], '*', 'b', table.concat(feed, '\\n')) end
return placed
"""
)

# Whoever holds a lease that has not run out keeps the order; every claim counts as a try, so a crash does too.
# An order that waits is nobody's to execute before it has fired.
# A claim repeated after a lost reply finds its own fence, and is answered alike.
CLAIM = script(
    CLOCK
    + """
local fence, lease, answers = ARGV[1], tonumber(ARGV[2]), {}
for i = 3, #ARGV do
  local key = 'order:{' .. ARGV[i] .. '}'
  local h = redis.call('HMGET', key, 'status', 'seq', 'attempt', 'lease', 'ready', 'order', 'fence', 'waits', 'base',
    'returns')
  local status = h[1]
  if not status then answers[#answers+1] = {'missing', ARGV[i]}
  elseif h[7] == fence then
    answers[#answers+1] = {'claimed', ARGV[i], status, h[2], h[3], h[6], h[9] or 0, h[10] or 0}
  elseif status == 'submitted' then answers[#answers+1] = {'submitted', ARGV[i]}
  elseif ((status == 'pending' and not h[8]) or status == 'triggered' or status == 'routing' or status == 'building')
    and tonumber(h[4]) <= now and tonumber(h[5]) <= now then
    local attempt = redis.call('HINCRBY', key, 'attempt', 1)
    redis.call('HSET', key, 'fence', fence, 'lease', now + lease, 'sweeps', 0)
    redis.call('ZADD', 'orders:open', now + lease, ARGV[i])
    answers[#answers+1] = {'claimed', ARGV[i], status, h[2], attempt, h[6], h[9] or 0, h[10] or 0}
  end
end
return answers
"""
)

HOLD = script(
    CLOCK
    + """
for i = 3, #ARGV do
  local key = 'order:{' .. ARGV[i] .. '}'
  if redis.call('HGET', key, 'fence') == ARGV[1] then
    redis.call('HSET', key, 'lease', now + ARGV[2])
    redis.call('ZADD', 'orders:open', now + ARGV[2], ARGV[i])
  end
end
"""
)

# The one place where a status changes.  A swap repeated after a lost reply finds its own event and counts as won.
# While a claim is kept the order stays where it is in orders:open: a look that comes early finds the lease and goes.
# Modes: `keep` the claim; `release` it until the next look; `free` it at once; `wait` in the book, or beside it until
# the next look; `final`.
ADVANCE = script(
    CLOCK
    + book.LUA
    + """
local won, feed, i = {}, {}, 2
while i <= #ARGV do
  local id, status, seq, fence, to, look_in, mode, body, n = ARGV[i], ARGV[i+1], tonumber(ARGV[i+2]), ARGV[i+3],
    ARGV[i+4], tonumber(ARGV[i+5]), ARGV[i+6], ARGV[i+7], tonumber(ARGV[i+8])
  local key = 'order:{' .. id .. '}'
  local stream = key .. ':events'
  local h = redis.call('HMGET', key, 'status', 'seq', 'fence', 'place', 'waits')
  if h[1] == status and tonumber(h[2]) == seq and (fence == '*' or h[3] == fence) then
    if h[4] and h[4] ~= '' then
      leave(id, h[4])
      redis.call('HSET', key, 'place', '')
    end
    if h[5] and status == 'pending' and mode ~= 'wait' then expire_at(id, nil) end
    if mode == 'keep' then
      redis.call('HSET', key, 'status', to, 'seq', seq + n, 'lease', now + look_in)
    elseif mode == 'free' then
      redis.call('HSET', key, 'status', to, 'seq', seq + n, 'lease', 0, 'ready', 0, 'sweeps', 0)
      redis.call('ZADD', 'orders:open', now + look_in, id)
    elseif mode == 'wait' then
      if body ~= '' then redis.call('HSET', key, 'order', body) end
      local order = cjson.decode(redis.call('HGET', key, 'order'))
      expire_at(id, order.expiresAt)
      local place = ''
      if look_in == 0 then
        place = rest(id, order)
        redis.call('ZREM', 'orders:open', id)
      else redis.call('ZADD', 'orders:open', now + look_in, id) end
      if status == 'pending' then redis.call('HSET', key, 'returns', 0)
      else redis.call('HINCRBY', key, 'returns', 1) end
      redis.call('HSET', key, 'status', to, 'seq', seq + n, 'lease', 0, 'ready', 0, 'sweeps', 0, 'place', place,
        'base', redis.call('HGET', key, 'attempt'))
    else
      redis.call('HSET', key, 'status', to, 'seq', seq + n, 'lease', 0, 'ready', now + look_in, 'sweeps', 0)
      if mode == 'final' then redis.call('ZREM', 'orders:open', id)
      else redis.call('ZADD', 'orders:open', now + look_in, id) end
    end
    for s = 1, n do
      local event = ARGV[i+8+s]
      redis.call('XADD', stream, (seq + s) .. '-0', 'e', event)
      feed[#feed+1] = id .. ' ' .. (seq + s) .. ((mode == 'final' and s == n) and ' 1 ' or ' 0 ') .. event
    end
    won[#won+1] = id
  elseif h[1] == to and tonumber(h[2]) == seq + n then
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
    if #last > 0 and last[1][2][2] == ARGV[i+8+n] then won[#won+1] = id end
  end
  i = i + 9 + n
end
if #feed > 0 then redis.call('XADD', 'orders:events', 'MAXLEN', '~', ARGV[1], '*', 'b', table.concat(feed, '\\n')) end
return won
"""
)

FORGET = script(
    """
for i = 2, #ARGV do
  local key = 'order:{' .. ARGV[i] .. '}'
  redis.call('EXPIRE', key, ARGV[1])
  redis.call('EXPIRE', key .. ':events', ARGV[1])
end
"""
)

# Orders whose time has come, each put off before it is returned: 5 s, 10 s, 20 s ... at most 60 s.
DUE = script(
    CLOCK
    + """
local ids = redis.call('ZRANGEBYSCORE', 'orders:open', '-inf', now, 'LIMIT', 0, ARGV[1])
local hints, missing, waiting = {}, {}, {}
for _, id in ipairs(ids) do
  local key = 'order:{' .. id .. '}'
  local h = redis.call('HMGET', key, 'status', 'waits')
  if h[1] then
    local sweeps = redis.call('HINCRBY', key, 'sweeps', 1)
    local put_off = math.min(tonumber(ARGV[2]) * 2 ^ math.min(sweeps - 1, 10), tonumber(ARGV[3]))
    redis.call('ZADD', 'orders:open', now + put_off, id)
    if h[1] == 'pending' and h[2] then waiting[#waiting+1] = id else hints[#hints+1] = id end
  else
    redis.call('ZREM', 'orders:open', id)
    missing[#missing+1] = id
  end
end
return {hints, missing, waiting}
"""
)

# Waiting orders that stand beside the book go into it.
REST = script(
    book.LUA
    + """
local rested = {}
for i = 1, #ARGV do
  local key = 'order:{' .. ARGV[i] .. '}'
  local h = redis.call('HMGET', key, 'status', 'waits', 'order', 'place')
  if h[1] == 'pending' and h[2] then
    if h[4] and h[4] ~= '' then leave(ARGV[i], h[4]) end
    local order = cjson.decode(h[3])
    redis.call('HSET', key, 'place', rest(ARGV[i], order))
    expire_at(ARGV[i], order.expiresAt)
    redis.call('ZREM', 'orders:open', ARGV[i])
    rested[#rested+1] = ARGV[i]
  end
end
return rested
"""
)

# A sniper order watches for the condition that is not met yet.
WATCH_FOR = script(
    book.LUA
    + """
for i = 1, #ARGV, 4 do
  local key = 'order:{' .. ARGV[i] .. '}'
  local h = redis.call('HMGET', key, 'status', 'place')
  if h[1] == 'pending' then
    if h[2] and h[2] ~= '' then leave(ARGV[i], h[2]) end
    redis.call('HSET', key, 'place', watch(ARGV[i], ARGV[i+1], ARGV[i+2], ARGV[i+3]))
    redis.call('ZREM', 'orders:open', ARGV[i])
  end
end
"""
)


def key(order_id: str) -> str:
    """Spell an order's key; the braces are literal."""
    return f"order:{{{order_id}}}"


def decode(text: str) -> dict[str, Any]:
    """Read one event."""
    event: dict[str, Any] = msgspec.json.decode(text)
    return event


def encode(event: Mapping[str, Any]) -> str:
    """Write one event."""
    return msgspec.json.encode(event).decode()


def place(placements: Iterable[Placement]) -> set[str]:
    """Put orders into Redis, each unless it is already there; return the ids placed."""
    args: list[Any] = [FEED_MAX]
    for p in placements:
        final = "1" if p.status in FINAL else "0"
        waits = p.order.type if p.order.waits else ""
        args += [p.order.id, p.status, p.attempt, p.look_in_ms, final, bodies.dumps(p.order, p.since), len(p.events)]
        args += [waits, p.base, *p.events]
    return set(PLACE()([], args)) if len(args) > 1 else set()


@dataclass(frozen=True, slots=True)
class Claimed:
    """The outcome of claiming: the orders that are ours, and those that need another door."""

    claims: list[Claim]
    submitted: list[str]
    missing: list[str]


def claim(order_ids: Sequence[str]) -> Claimed:
    """Take these orders for this worker, each unless it is finished, submitted, held by another or not ready."""
    fence = uuid4().hex
    answers = CLAIM()([], [fence, settings.ORDER_LEASE_MS, *dict.fromkeys(order_ids)])
    claims = []
    for _, order_id, status, seq, attempt, body, base, returns in (one for one in answers if one[0] == "claimed"):
        try:
            known = bodies.loads(body)
            order = bodies.to_execute(known)
            claims.append(
                Claim(order, Status(status), int(seq), int(attempt), fence, int(base), int(returns), known.since)
            )
        except UnknownPair as pair:
            # Pairs are retired by making them inactive; its neighbours must not suffer for one that was deleted.
            log.error("order left alone, its pair is gone", order_id=order_id, pair=str(pair))
    return Claimed(
        with_trails(claims),
        [answer[1] for answer in answers if answer[0] == "submitted"],
        [answer[1] for answer in answers if answer[0] == "missing"],
    )


def with_trails(claims: list[Claim]) -> list[Claim]:
    """Give claims of orders that moved before the events they already have."""
    moved = [claim for claim in claims if claim.seq > 1]
    found = events([claim.order.id for claim in moved], after=1)
    return [replace(claim, trail=tuple(found.get(claim.order.id, ()))) for claim in claims]


def hold(claims: Sequence[Claim], ms: int) -> None:
    """Keep these claims for `ms` longer than now: their worker is waiting on a venue."""
    for fence in {claim.fence for claim in claims}:
        HOLD()([], [fence, ms, *(claim.order.id for claim in claims if claim.fence == fence)])


def advance(swaps: Sequence[Swap]) -> set[str]:
    """Carry out compare-and-sets in one step and return the ids that won; only orders/progress.py calls this."""
    args: list[Any] = [FEED_MAX]
    for s in swaps:
        args += [s.order_id, s.status, s.seq, s.fence, s.to, s.look_in_ms, s.mode, s.body, len(s.events), *s.events]
    return set(ADVANCE()([], args)) if len(args) > 1 else set()


def due(limit: int) -> tuple[list[str], list[str], list[str]]:
    """Return orders whose time has come and put them off: (to execute, those whose state is gone, those that wait)."""
    hints, missing, waiting = DUE()([], [limit, GRACE_MS, BACKOFF_MAX_MS])
    return hints, missing, waiting


def rest(order_ids: Sequence[str]) -> list[str]:
    """Put waiting orders into the book, where they belong; return those that still wait."""
    rested: list[str] = REST()([], order_ids) if order_ids else []
    return rested


def watch_for(orders: Iterable[tuple[Order, Watch]]) -> None:
    """Have armed sniper orders watch for these things."""
    args: list[Any] = []
    for order, watch in orders:
        args += [order.id, order.pair.token_out.mint, watch.watched, watch.at_least]
    if args:
        WATCH_FOR()([], args)


def standing(order_ids: Sequence[str]) -> dict[str, Standing]:
    """Return how those orders stand that have live state; one whose pair is gone is left out."""
    pipe = redis().pipeline(transaction=False)
    for order_id in order_ids:
        pipe.hmget(key(order_id), "status", "seq", "attempt", "returns", "place", "order")
    answers = pipe.execute() if order_ids else []
    found = {}
    for order_id, (status, seq, attempt, returns, place, text) in zip(order_ids, answers, strict=True):
        if status is None:
            continue
        body = bodies.loads(text)
        at_level = body.level if body.rest_level is None else body.rest_level
        try:
            order = bodies.order_from(body)
        except UnknownPair as pair:
            log.error("order left alone, its pair is gone", order_id=order_id, pair=str(pair))
            continue
        found[order_id] = Standing(
            order, Status(status), int(seq), int(attempt), int(returns or 0), body.since, at_level, place or ""
        )
    return found


def events(order_ids: Sequence[str], after: int = 0) -> dict[str, list[str]]:
    """Return the JSON of each order's events past `after`; an order without live state is left out."""
    pipe = redis().pipeline(transaction=False)
    for order_id in order_ids:
        pipe.xrange(f"{key(order_id)}:events", min=f"({after}-0")
    answers = pipe.execute() if order_ids else []
    return {
        order_id: [fields["e"] for _, fields in entries]
        for order_id, entries in zip(order_ids, answers, strict=True)
        if entries
    }


def last_events(order_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the last event of each order that has live state."""
    pipe = redis().pipeline(transaction=False)
    for order_id in order_ids:
        pipe.xrevrange(f"{key(order_id)}:events", count=1)
    answers = pipe.execute() if order_ids else []
    return {i: decode(found[0][1]["e"]) for i, found in zip(order_ids, answers, strict=True) if found}


def feed_again(order_ids: Sequence[str]) -> None:
    """Put all events of these finished orders into the feed once more; whoever has them skips them."""
    lines = []
    for order_id, texts in events(order_ids).items():
        lines += [f"{order_id} {seq} {int(seq == len(texts))} {text}" for seq, text in enumerate(texts, 1)]
    if lines:
        redis().xadd(FEED, {"b": "\n".join(lines)}, maxlen=FEED_MAX, approximate=True)


def statuses(order_ids: Sequence[str]) -> dict[str, tuple[Status, int]]:
    """Return the live status and seq of those orders that have one."""
    pipe = redis().pipeline(transaction=False)
    for order_id in order_ids:
        pipe.hmget(key(order_id), "status", "seq")
    answers = pipe.execute() if order_ids else []
    return {i: (Status(found[0]), int(found[1])) for i, found in zip(order_ids, answers, strict=True) if found[0]}


def forget(order_ids: Iterable[str], after_s: int) -> None:
    """Let finished, archived orders leave Redis after a while."""
    ids = list(order_ids)
    if ids:
        FORGET()([], [after_s, *ids])


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is to do: orders somebody must look at, the most overdue of them, and attempts that are open."""

    orders: int
    overdue_ms: int
    attempts: int


def load(now: int) -> Load:
    """Say how much there is to do, in one round trip."""
    pipe = redis().pipeline(transaction=False)
    pipe.zcard(OPEN)
    pipe.zrange(OPEN, 0, 0, withscores=True)
    pipe.zcard(lookups.OPEN)
    orders, first, attempts = pipe.execute()
    return Load(orders, max(0, now - int(first[0][1])) if first else 0, attempts)


def was_emptied() -> bool:
    """Tell whether Redis lost everything since the last rebuild."""
    return not redis().exists(REBUILT)


def begin_rebuild() -> bool:
    """Take the rebuild upon this caller, unless another is at it; `rebuilding` keeps it."""
    return bool(redis().set(REBUILDING, "1", nx=True, px=REBUILD_MS))


def rebuilding() -> None:
    """Say that the rebuild goes on."""
    redis().set(REBUILDING, "1", px=REBUILD_MS)


def end_rebuild() -> None:
    """Leave the rebuild, done or not, to whoever finds that one is needed."""
    redis().delete(REBUILDING)


def mark_rebuilt() -> None:
    """Note that Redis holds all that Postgres knows."""
    redis().set(REBUILT, "1")
