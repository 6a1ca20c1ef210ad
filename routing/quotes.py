"""The quote cache: owner of every `quotes:` key.

`quotes:{SOL-USDC}:RAYDIUM`, `:METEORA` and `:BEST` are hashes, each with the time it was observed.  BEST is the venue
quote with the highest price less fee among the fresh ones.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import msgspec
import structlog

from engine.amm import pool_from
from engine.quotes import AHEAD_MAX_MS, Quote
from engine.quotes import best as best_of
from routing.guards import guards
from routing.outages import paused
from routing.store import CLOCK, lua, now_ms, redis, script
from routing.venues import VENUES

log = structlog.get_logger(__name__)

TTL_MS = 600_000
SCALE = 30
WIDTH = 56
"""Prices are compared in Lua as zero-padded integers: exact, where Lua's own numbers are not."""

STORE = script(CLOCK + lua(Path(__file__).parent / "lua" / "store_quote.lua"))
pack = msgspec.msgpack.Encoder().encode
NOTHING = f"{0:0{WIDTH}d}"
"""The rank that only a price above nothing is above."""


@dataclass(frozen=True, slots=True)
class Cached:
    """What the cache holds of one pair: the venues' last quotes, and BEST."""

    quotes: tuple[Quote, ...]
    best: Quote | None


def key(pair: str, name: str) -> str:
    """Spell a quote's key; the braces are literal and keep a pair in one cluster slot."""
    return f"quotes:{{{pair}}}:{name}"


def store(quote: Quote) -> bool:
    """Keep a quote and choose BEST anew; False when a later observation is already there, or its time has not come."""
    keys = [key(quote.pair, quote.venue), key(quote.pair, "BEST"), *(key(quote.pair, name) for name in VENUES)]
    bounds = [quote.observed_at, TTL_MS, guards.QUOTE_FRESH_MS, AHEAD_MAX_MS, NOTHING]
    kept = int(STORE()(keys, [pack(fields(quote)), *bounds]))
    if kept < 0:
        now_ms.doubt()
        log.warning("quote of a time that has not come is not believed", venue=quote.venue, pair=quote.pair)
    return kept > 0


def rank(price: Decimal) -> str:
    """Write a price so that texts compare as prices do."""
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
    now = now_ms()
    return Cached(left, best_of(quote for quote in left if quote.age(now) <= guards.QUOTE_FRESH_MS))
