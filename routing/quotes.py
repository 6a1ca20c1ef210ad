"""The quote cache: owner of every `quotes:` key.

`quotes:{SOL-USDC}:RAYDIUM`, `:METEORA` and `:BEST` are hashes, each with its observation time.  BEST is the fresh venue
quote with the highest price less fee.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import structlog

from engine.amm import pool_from
from engine.quotes import AHEAD_MAX_MS, Quote
from engine.quotes import best as best_of
from routing.outages import failing, paused
from routing.risk_limits import risk_limits
from routing.store import CLOCK, lua, now_ms, redis, script
from routing.venues import VENUES

log = structlog.get_logger(__name__)

TTL_MS = 600_000
SCALE = 30
WIDTH = 56
"""Lua compares prices as zero-padded integer strings, which is exact; Lua's own numbers are doubles."""

STORE = script(CLOCK + lua(Path(__file__).parent / "lua" / "store_quote.lua"))
pack = msgspec.msgpack.Encoder().encode
NOTHING = f"{0:0{WIDTH}d}"
"""The rank of price 0; only a price above 0 ranks higher."""


@dataclass(frozen=True, slots=True)
class Cached:
    """The cache entry of one pair: the venues' last quotes, and BEST, which is the best of `traded`."""

    quotes: tuple[Quote, ...]
    best: Quote | None
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Venues whose breaker is open while another has a fresh quote, each with the sentence that says so."""

    @property
    def traded(self) -> tuple[Quote, ...]:
        """The quotes that orders fire and are routed on."""
        if not self.left_out:
            return self.quotes
        return tuple(quote for quote in self.quotes if quote.venue not in self.left_out)


@dataclass(frozen=True, slots=True)
class Stored:
    """A quote that was stored, and the price less fee of BEST as chosen with it; None if no quote is fresh."""

    quote: Quote
    best: Decimal | None


def key(pair: str, name: str) -> str:
    """Return a quote's key; the braces are literal and keep a pair in one cluster slot."""
    return f"quotes:{{{pair}}}:{name}"


def store(quote: Quote) -> bool:
    """Store a quote and choose BEST again; False if a later observation is stored, or its time is in the future."""
    return store_all([quote])[0] is not None


def store_all(found: Sequence[Quote]) -> list[Stored | None]:
    """Store quotes in one round trip, each as `store` does; None for each that is not stored."""
    if len(found) == 1:
        # Without a pipeline, which first asks Redis whether it has the script.
        answers = [STORE()(*call(found[0]))]
    else:
        pipe = redis().pipeline(transaction=False)
        for quote in found:
            STORE()(*call(quote), client=pipe)
        answers = pipe.execute()
    return [stored(quote, *answer) for quote, answer in zip(found, answers, strict=True)]


def call(quote: Quote) -> tuple[list[str], list[Any]]:
    """Return the keys and arguments of STORE."""
    keys = [key(quote.pair, quote.venue), key(quote.pair, "BEST"), *(key(quote.pair, name) for name in VENUES)]
    return keys, [pack(fields(quote)), quote.observed_at, TTL_MS, risk_limits.QUOTE_FRESH_MS, AHEAD_MAX_MS, NOTHING]


def stored(quote: Quote, kept: int, best: str | None = None) -> Stored | None:
    """Read what STORE has answered."""
    if kept < 0:
        now_ms.doubt()
        log.warning("quote with a future timestamp ignored", venue=quote.venue, pair=quote.pair)
    return Stored(quote, Decimal(best) if best else None) if kept > 0 else None


def rank(price: Decimal) -> str:
    """Format a price as a string that sorts like the price."""
    return f"{int(price.scaleb(SCALE)):0{WIDTH}d}"


def fields(quote: Quote) -> dict[str, str]:
    """Serialize a quote into the fields of its hash."""
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
    """Deserialize a quote written by `fields`."""
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
    """Return the cache entries of these pairs, of any age, in one round trip.

    Paused venues are left out, and failing ones marked.
    """
    names = list(dict.fromkeys(pairs))
    pipe = redis().pipeline(transaction=False)
    for name in names:
        for part in (*VENUES, "BEST"):
            pipe.hgetall(key(name, part))
    answers = iter(pipe.execute())
    result = {}
    for name in names:
        *venues, best = (quote_from(name, found) if found else None for found in (next(answers) for _ in (*VENUES, 0)))
        entry = without(paused(), Cached(tuple(quote for quote in venues if quote), best))
        result[name] = leaving_out(failing(), entry)
    return result


def without(names: Collection[str], cached: Cached) -> Cached:
    """Remove the quotes of these venues; BEST is then the best fresh quote of the others."""
    if not any(quote.venue in names for quote in cached.quotes):
        return cached
    left = tuple(quote for quote in cached.quotes if quote.venue not in names)
    return Cached(left, fresh_best(left))


def leaving_out(reasons: Mapping[str, str], cached: Cached) -> Cached:
    """Leave out the failing venues, unless no other has a fresh quote; BEST is then the best of the others."""
    if not reasons:
        return cached
    fewer = replace(cached, left_out=reasons)
    best = fresh_best(fewer.traded)
    return replace(fewer, best=best) if best else cached


def fresh_best(found: Iterable[Quote]) -> Quote | None:
    """Return the best of those quotes that are fresh, as BEST is chosen."""
    now = now_ms()
    return best_of(quote for quote in found if quote.age(now) <= risk_limits.QUOTE_FRESH_MS)
