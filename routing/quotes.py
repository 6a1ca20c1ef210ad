"""The quote cache: owner of every `quotes:` key.

`quotes:{SOL-USDC}:RAYDIUM`, `:METEORA` and `:BEST` are hashes, each with the time it was observed.  BEST is the venue
quote with the highest price less fee among the fresh ones.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from engine.amm import pool_from
from engine.quotes import Quote
from engine.quotes import best as best_of
from routing.guards import guards
from routing.outages import paused
from routing.store import CLOCK, now_ms, redis, script
from routing.venues import VENUES

TTL_MS = 600_000
SCALE = 30
WIDTH = 56
"""Prices are compared in Lua as zero-padded integers: exact, where Lua's own numbers are not."""

# A later observation never gives way to an earlier one; BEST is chosen in the same step, so it always names a
# quote that is there.
STORE = script(
    CLOCK
    + """
local venue_key, best_key = KEYS[1], KEYS[2]
local known = redis.call('HGET', venue_key, 'observed_at')
if known and tonumber(known) > tonumber(ARGV[2]) then return 0 end
local fields = cjson.decode(ARGV[1])
local flat = {}
for name, value in pairs(fields) do flat[#flat + 1] = name; flat[#flat + 1] = value end
redis.call('HSET', venue_key, unpack(flat))
redis.call('HINCRBY', venue_key, 'polls', 1)
redis.call('PEXPIRE', venue_key, ARGV[3])
local oldest = now - tonumber(ARGV[4])
local rank, winner = ARGV[5], nil
for i = 3, #KEYS do
  local seen = redis.call('HMGET', KEYS[i], 'rank', 'observed_at')
  if seen[1] and tonumber(seen[2]) >= oldest and seen[1] > rank then rank, winner = seen[1], KEYS[i] end
end
if winner then
  redis.call('DEL', best_key)
  redis.call('HSET', best_key, unpack(redis.call('HGETALL', winner)))
  redis.call('HDEL', best_key, 'polls')
  redis.call('PEXPIRE', best_key, ARGV[3])
else
  redis.call('DEL', best_key)
end
return 1
""",
)


@dataclass(frozen=True, slots=True)
class Cached:
    """What the cache holds of one pair: the venues' last quotes, and BEST."""

    quotes: tuple[Quote, ...]
    best: Quote | None


def key(pair: str, name: str) -> str:
    """Spell a quote's key; the braces are literal and keep a pair in one cluster slot."""
    return f"quotes:{{{pair}}}:{name}"


def store(quote: Quote) -> bool:
    """Keep a quote and choose BEST anew; False when a later observation is already there."""
    keys = [key(quote.pair, quote.venue), key(quote.pair, "BEST"), *(key(quote.pair, name) for name in VENUES)]
    return bool(
        STORE()(keys, [json.dumps(fields(quote)), quote.observed_at, TTL_MS, guards.QUOTE_FRESH_MS, rank(Decimal(0))])
    )


def rank(price: Decimal) -> str:
    """Write a price so that texts compare as prices do; only one above nothing can be BEST."""
    return f"{int(price.scaleb(SCALE)):0{WIDTH}d}"


def fields(quote: Quote) -> dict[str, str]:
    """Write a quote as a hash."""
    return {
        "venue": quote.venue,
        "price": str(quote.price),
        "fee_bps": str(quote.fee_bps),
        "net_price": str(quote.net_price),
        "rank": rank(quote.net_price),
        "pool": json.dumps(quote.pool.as_dict()),
        "requested_at": str(quote.requested_at),
        "observed_at": str(quote.observed_at),
    }


def quote_from(pair: str, found: Mapping[str, str]) -> Quote:
    """Read a quote back."""
    return Quote(
        venue=found["venue"],
        pair=pair,
        price=Decimal(found["price"]),
        fee_bps=int(found["fee_bps"]),
        pool=pool_from(json.loads(found["pool"])),
        requested_at=int(found["requested_at"]),
        observed_at=int(found["observed_at"]),
    )


def cached(pairs: Iterable[str]) -> dict[str, Cached]:
    """Read what is known of these pairs, in one round trip, whatever its age; paused venues are as good as silent."""
    names = list(dict.fromkeys(pairs))
    pipe = redis().pipeline(transaction=False)
    for name in names:
        for part in (*VENUES, "BEST"):
            pipe.hgetall(key(name, part))
    answers = iter(pipe.execute())
    result = {}
    for name in names:
        *venues, best = (quote_from(name, found) if found else None for found in (next(answers) for _ in (*VENUES, 0)))
        result[name] = without(paused(), Cached(tuple(quote for quote in venues if quote), best))
    return result


def without(names: Collection[str], cached: Cached) -> Cached:
    """Leave out some venues' quotes; where BEST was one of them, it is the best fresh one of the others."""
    if not any(quote.venue in names for quote in cached.quotes):
        return cached
    left = tuple(quote for quote in cached.quotes if quote.venue not in names)
    oldest = now_ms() - guards.QUOTE_FRESH_MS
    return Cached(left, best_of(quote for quote in left if quote.observed_at >= oldest))
