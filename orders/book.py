"""The book: orders that wait, indexed by what they wait for.  Owner of the `limit`, `snipe` and `waiting:` keys.

| key | type | holds |
|---|---|---|
| `limit_bucket:{SOL-USDC}:155.2` | sorted set | orders that rest at a price, by since when (epoch ms), then by id |
| `limit_levels:{SOL-USDC}` | sorted set | prices that have a bucket, by their level: how many ticks they have |
| `limit:{SOL-USDC}:<orderId>` | hash | the price at which an order rests, and its amount in base units |
| `limit_pairs` | set | pairs that may have levels or claims |
| `limit_seen:{SOL-USDC}` | list | the last trusted prices, as levels, newest first |
| `limit_claims:{SOL-USDC}` | hash | orders taken out of their buckets, with the evidence, until they have fired |
| `snipe:{<mint>}:launch`, `:liquidity`, `:volume:<seconds>` | sorted set | armed orders by the threshold they watch |
| `snipe:{<mint>}:windows` | set | windows that have a `:volume` |
| `waiting:expiring` | sorted set | waiting orders that expire, by when |

An order is in the book exactly while its live state says so: the scripts of orders/live.py that change that state call
`rest` and `leave` of LUA within the same step.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

import msgspec

from engine.triggers import Sighting, TokenState
from routing.store import redis, script

CLAIM_MAX = 1_000
"""Orders one claim takes: about a millisecond of Redis' time."""
CLAIM_LEASE_MS = 2_000
"""How long a claim stays with a worker that does not finish it."""
SEEN_TTL_MS = 10_000
"""Silence after which earlier prices no longer count as polls for which a price held."""
EXPIRY_PUT_OFF_MS = 1_000

LUA = """
local function leave(id, at)
  local kind, tag, where = string.match(at, '^(%a+) (%S+) (%S+)$')
  if kind == 'limit' then
    local bucket = 'limit_bucket:{' .. tag .. '}:' .. where
    redis.call('ZREM', bucket, id)
    if redis.call('EXISTS', bucket) == 0 then redis.call('ZREM', 'limit_levels:{' .. tag .. '}', where) end
    redis.call('DEL', 'limit:{' .. tag .. '}:' .. id)
  elseif kind == 'snipe' then
    local index = 'snipe:{' .. tag .. '}:' .. where
    redis.call('ZREM', index, id)
    local window = string.match(where, '^volume:(%d+)$')
    if window and redis.call('EXISTS', index) == 0 then
      redis.call('SREM', 'snipe:{' .. tag .. '}:windows', window)
    end
  end
end

local function watch(id, mint, where, threshold)
  redis.call('ZADD', 'snipe:{' .. mint .. '}:' .. where, threshold, id)
  local window = string.match(where, '^volume:(%d+)$')
  if window then redis.call('SADD', 'snipe:{' .. mint .. '}:windows', window) end
  return 'snipe ' .. mint .. ' ' .. where
end

local function rest(id, order)
  if order.type ~= 'limit' then return watch(id, order.mint, order.watch, order.watchAt) end
  local price, level = order.restPrice or order.limitPrice, order.restLevel or order.level
  local tag = '{' .. order.pair .. '}'
  redis.call('ZADD', 'limit_bucket:' .. tag .. ':' .. price, order.since, id)
  redis.call('ZADD', 'limit_levels:' .. tag, level, price)
  redis.call('SADD', 'limit_pairs', order.pair)
  redis.call('HSET', 'limit:' .. tag .. ':' .. id, 'price', price, 'amount', order.amountIn)
  return 'limit ' .. order.pair .. ' ' .. price
end

local function expire_at(id, at)
  if at then redis.call('ZADD', 'waiting:expiring', at, id) else redis.call('ZREM', 'waiting:expiring', id) end
end
"""
"""Functions for the scripts that move orders: `rest` and `watch` return where the order is, `leave` wants it back."""

# A level is a whole number below 2^53, which a sorted set's scores keep exactly.
CROSSED = script("return #redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 1)")

# The lowest prices fire first: they are the nearest ones.
LEVELS = script(
    """
local found = {}
for _, price in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1)) do
  found[#found+1] = price
  found[#found+1] = redis.call('ZCARD', 'limit_bucket:{' .. ARGV[1] .. '}:' .. price)
end
return found
"""
)

# A price counts once, however often it is looked at; the lowest of the last ones is the price that has held.
OBSERVE = script(
    """
local last = redis.call('LINDEX', KEYS[1], 0)
if not last or string.match(last, '^%S+') ~= ARGV[1] then
  redis.call('LPUSH', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
  redis.call('LTRIM', KEYS[1], 0, ARGV[3] - 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
local seen = redis.call('LRANGE', KEYS[1], 0, ARGV[3] - 1)
if #seen < tonumber(ARGV[3]) then return '' end
local lowest = nil
for _, entry in ipairs(seen) do
  local level = string.match(entry, '%S+$')
  if not lowest or tonumber(level) < tonumber(lowest) then lowest = level end
end
return lowest
"""
)

# Lowest price first, at a price the oldest first.  What is taken stays on record until it has been fired.
CLAIM = script(
    """
local tag, most = '{' .. ARGV[1] .. '}', tonumber(ARGV[3])
local levels, ids = 'limit_levels:' .. tag, {}
for _, price in ipairs(redis.call('ZRANGEBYSCORE', levels, '-inf', ARGV[2], 'LIMIT', 0, most)) do
  local bucket = 'limit_bucket:' .. tag .. ':' .. price
  local taken = redis.call('ZPOPMIN', bucket, most - #ids)
  for i = 1, #taken, 2 do ids[#ids+1] = taken[i] end
  if redis.call('EXISTS', bucket) == 0 then redis.call('ZREM', levels, price) end
  if #ids >= most then break end
end
if #ids > 0 then
  redis.call('HSET', 'limit_claims:' .. tag, ARGV[4], ARGV[5] .. ' ' .. table.concat(ids, ',') .. ' ' .. ARGV[6])
end
return ids
"""
)

TAKE_OVER = script(
    """
local found, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local until_, rest = string.match(all[i+1], '^(%d+) (.*)$')
  if tonumber(until_) <= tonumber(ARGV[1]) then
    redis.call('HSET', KEYS[1], all[i], ARGV[2] .. ' ' .. rest)
    found[#found+1] = all[i]
    found[#found+1] = rest
  end
end
return found
"""
)

PAIRS = script(
    """
local busy = {}
for _, pair in ipairs(redis.call('SMEMBERS', 'limit_pairs')) do
  local tag = '{' .. pair .. '}'
  if redis.call('EXISTS', 'limit_levels:' .. tag, 'limit_claims:' .. tag) > 0 then busy[#busy+1] = pair
  else redis.call('SREM', 'limit_pairs', pair) end
end
return busy
"""
)

# Put off as it is taken, so that another worker does not take it too.
EXPIRED = script(
    """
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], ARGV[3], id) end
return ids
"""
)


FORGET_EXPIRY = script(
    """
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[1] then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
"""
)


@dataclass(frozen=True, slots=True)
class Claim:
    """Orders taken out of their buckets, in the order in which they fire, and what they fire on."""

    id: str
    pair: str
    ids: tuple[str, ...]
    sighting: Sighting


def tagged(family: str, tag: str) -> str:
    """Spell a key; the braces are literal and keep a pair, or a token, in one cluster slot."""
    return f"{family}:{{{tag}}}"


def has_crossed(pair: str, level: int) -> bool:
    """Tell whether any order rests at this level or below."""
    return bool(CROSSED()([tagged("limit_levels", pair)], [level]))


def has_levels(pair: str) -> bool:
    """Tell whether any order rests on this pair."""
    return bool(redis().exists(tagged("limit_levels", pair)))


def levels(pair: str, limit: int) -> list[tuple[str, int]]:
    """Return up to `limit` prices at which orders of a pair rest, the nearest first, each with how many rest there."""
    found = LEVELS()([tagged("limit_levels", pair)], [pair, limit])
    return [(price, int(count)) for price, count in zip(found[::2], found[1::2], strict=True)]


def observe(pair: str, mark: str, level: int, polls: int) -> int | None:
    """Note a trusted price and return the level that has held for so many polls, or None when it is too early to say.

    `mark` names the observation: the same one noted twice is one poll.
    """
    held = OBSERVE()([tagged("limit_seen", pair)], [mark, level, polls, SEEN_TTL_MS])
    return int(held) if held else None


def distrust(pair: str) -> None:
    """Forget the prices noted so far: one that cannot be trusted came between."""
    redis().delete(tagged("limit_seen", pair))


def claim(pair: str, sighting: Sighting, now: int, ahead: int = 0) -> Claim | None:
    """Take up to CLAIM_MAX orders whose price is reached out of their buckets; None when there are none.

    `ahead` is how many claims its holder will fire before this one, which keeps it for longer by as much.
    """
    name, until = uuid4().hex, now + CLAIM_LEASE_MS * (1 + ahead)
    evidence = msgspec.json.encode(sighting).decode()
    ids = CLAIM()([], [pair, sighting.level, CLAIM_MAX, name, until, evidence])
    return Claim(name, pair, tuple(ids), sighting) if ids else None


def abandoned(pair: str, now: int) -> list[Claim]:
    """Take over the claims that a worker left unfinished."""
    found = TAKE_OVER()([tagged("limit_claims", pair)], [now, now + CLAIM_LEASE_MS])
    claims = []
    for name, text in zip(found[::2], found[1::2], strict=True):
        ids, _, evidence = text.partition(" ")
        claims.append(Claim(name, pair, tuple(ids.split(",")), msgspec.json.decode(evidence, type=Sighting)))
    return claims


def claimed(pairs: Iterable[str]) -> set[str]:
    """Return the orders of these pairs that are out of their buckets because somebody is firing them."""
    pipe = redis().pipeline(transaction=False)
    for pair in pairs:
        pipe.hvals(tagged("limit_claims", pair))
    return {order_id for claims in pipe.execute() for text in claims for order_id in text.split(" ", 2)[1].split(",")}


def settle(done: Claim) -> None:
    """Forget a claim whose orders have been fired."""
    redis().hdel(tagged("limit_claims", done.pair), done.id)


def pairs() -> list[str]:
    """Name the pairs on which orders rest or are being fired."""
    return sorted(PAIRS()())


def expired(now: int, limit: int) -> list[str]:
    """Return waiting orders whose time has passed, the first to expire first, and put each off."""
    ids: list[str] = EXPIRED()(["waiting:expiring"], [now, limit, now + EXPIRY_PUT_OFF_MS])
    return ids


def forget_expiry(order_ids: Sequence[str], now: int) -> None:
    """Drop orders that `expired` returned at `now` and that do not wait any more; one that came back keeps its time."""
    if order_ids:
        FORGET_EXPIRY()(["waiting:expiring"], [now + EXPIRY_PUT_OFF_MS, *order_ids])


def windows(mints: Iterable[str]) -> dict[str, list[int]]:
    """Return the windows, in milliseconds, that armed orders watch each token's volume for."""
    names = list(dict.fromkeys(mints))
    pipe = redis().pipeline(transaction=False)
    for mint in names:
        pipe.smembers(f"{tagged('snipe', mint)}:windows")
    return {
        mint: sorted(int(seconds) * 1000 for seconds in found)
        for mint, found in zip(names, pipe.execute() if names else [], strict=True)
    }


def met(states: Mapping[str, TokenState]) -> dict[str, list[str]]:
    """Return, by token, the armed orders whose watched condition is met by the token's state, oldest first."""
    asked: list[str] = []
    pipe = redis().pipeline(transaction=False)
    for mint, state in states.items():
        index = tagged("snipe", mint)
        watched = [("launch", 0)] if state.pools else []
        if state.liquidity is not None:
            watched.append(("liquidity", state.liquidity))
        watched += [(f"volume:{window // 1000}", traded) for window, traded in state.volumes.items()]
        for where, value in watched:
            pipe.zrangebyscore(f"{index}:{where}", "-inf", value, start=0, num=CLAIM_MAX)
            asked.append(mint)
    found: dict[str, list[str]] = {}
    for mint, ids in zip(asked, pipe.execute() if asked else [], strict=True):
        if ids:
            found[mint] = sorted({*found.get(mint, ()), *ids})
    return found


def where(order_ids: Sequence[str], places: Sequence[str]) -> list[bool]:
    """Tell of each order whether it is really where its live state says it rests."""
    pipe = redis().pipeline(transaction=False)
    for order_id, place in zip(order_ids, places, strict=True):
        kind, _, rest = place.partition(" ")
        tag, _, price = rest.partition(" ")
        pipe.zscore(f"{tagged('limit_bucket' if kind == 'limit' else 'snipe', tag)}:{price}", order_id)
    return [score is not None for score in (pipe.execute() if order_ids else [])]


def place_of(key: str) -> str:
    """Name a bucket or an index as the live state of those that rest there does."""
    family, _, rest = key.partition(":{")
    tag, _, where = rest.partition("}:")
    return f"{'limit' if family == 'limit_bucket' else 'snipe'} {tag} {where}"


def members(key: str, limit: int) -> list[str]:
    """Return the first orders of a bucket or an index."""
    return list(map(str, redis().zrange(key, 0, limit - 1)))
