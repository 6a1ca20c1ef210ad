"""The order book: resting orders, indexed by what they wait for.  Owner of the `limit`, `snipe` and `waiting:` keys.

| key | type | holds |
|---|---|---|
| `limit_bucket:{SOL-USDC}:155.2` | sorted set | orders that rest at a price, by time priority (epoch ms), then by id |
| `limit_levels:{SOL-USDC}` | sorted set | prices that have a bucket, by level: the price in ticks |
| `limit:{SOL-USDC}:<orderId>` | hash | the price at which an order rests, and its amount in base units |
| `limit_pairs` | set | pairs that may have levels or claims |
| `limit_seen:{SOL-USDC}` | list | the last trusted prices, as levels, newest first |
| `limit_claims:{SOL-USDC}` | hash | orders taken out of their buckets until they have triggered, with the price |
| `snipe:{<mint>}:launch`, `:liquidity`, `:volume:<seconds>` | sorted set | armed orders by the threshold they await |
| `snipe:{<mint>}:price:<pair>` | sorted set | armed orders whose conditions are met, by the level they would buy at |
| `snipe:{<mint>}:windows`, `:pairs` | set | windows that have a `:volume` index, pairs that have a `:price` index |
| `waiting:expiring` | sorted set | waiting orders that expire, by expiry time |

An order is in the place that its live state names.  The scripts that change that state (called by live.py, placing.py
and swaps.py) call `rest`, `watch` and `leave` of LUA atomically with the change.  Only lua/book/claim.lua takes orders
out of their buckets alone: they stay on record in `limit_claims` until they have triggered.  The book's own scripts are
in orders/stores/lua/book/.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec

from engine.triggers import Sighting
from routing import epochs
from routing.crashpoints import Store, step
from routing.store import EPOCH, lua, redis, script

CLAIM_MAX = 1_000
"""The most orders one claim takes: about a millisecond of Redis' time."""
PAGE = 1_000
"""Armed orders read per page."""
CLAIM_LEASE_MS = 2_000
"""Lease of a claim: another worker may take it over after this time."""
SEEN_TTL_MS = 10_000
"""Time without a trusted price after which earlier prices no longer count towards LIMIT_HOLD_POLLS."""
EXPIRY_PUT_OFF_MS = 1_000

SCRIPTS = Path(__file__).parent / "lua" / "book"
LUA = lua(SCRIPTS / "places.lua")
"""Functions for the scripts that move orders: `rest` and `watch` return the order's place, `leave` takes it."""

LEVELS = script(lua(SCRIPTS / "levels.lua"))
OBSERVE = script(lua(SCRIPTS / "observe.lua"))
CLAIM = script(lua(SCRIPTS / "claim.lua"))
SETTLE = script(lua(SCRIPTS / "settle.lua"))
TAKE_OVER = script(lua(SCRIPTS / "take_over.lua"))
PAIRS = script(lua(SCRIPTS / "pairs.lua"))
EXPIRED = script(lua(SCRIPTS / "expired.lua"))
FORGET_EXPIRY = script(lua(SCRIPTS / "forget_expiry.lua"))


@dataclass(frozen=True, slots=True)
class Claim:
    """Orders taken out of their buckets, in the order in which they trigger, and the price they trigger on."""

    id: str
    pair: str
    ids: tuple[str, ...]
    sighting: Sighting
    epoch: int
    """The epoch in which the claim was taken or taken over."""


BUCKETS, INDEXES = "limit_bucket:*", "snipe:*"
"""Key patterns of the sets in which orders rest: limit orders by price, sniper orders by threshold."""


def tagged(family: str, tag: str) -> str:
    """Return a key; the braces are literal and keep a pair, or a token, in one cluster slot."""
    return f"{family}:{{{tag}}}"


def has_crossed(pair: str, level: int) -> bool:
    """Tell whether any order rests at this level or below."""
    return bool(redis().zrangebyscore(tagged("limit_levels", pair), "-inf", level, start=0, num=1))


def has_levels(pair: str) -> bool:
    return bool(redis().exists(tagged("limit_levels", pair)))


def levels(pair: str, limit: int) -> list[tuple[str, int]]:
    """Return up to `limit` prices at which orders of a pair rest, nearest first, each with its number of orders."""
    found = LEVELS()([tagged("limit_levels", pair)], [pair, limit])
    return [(price, int(count)) for price, count in zip(found[::2], found[1::2], strict=True)]


def observe(pair: str, mark: str, level: int, polls: int) -> int | None:
    """Record a trusted price; return the level that has held for `polls` polls, or None after fewer polls.

    `mark` identifies the observation: recording the same one twice counts as one poll.
    """
    held = OBSERVE()([tagged("limit_seen", pair)], [mark, level, polls, SEEN_TTL_MS])
    return int(held) if held else None


def distrust(pair: str) -> None:
    """Forget the recorded prices, because an untrusted price interrupted the series."""
    redis().delete(tagged("limit_seen", pair))


def claim(pair: str, sighting: Sighting, now: int, ahead: int = 0) -> Claim | None:
    """Take up to CLAIM_MAX orders whose price is reached out of their buckets; None when there are none.

    `ahead` is the number of claims the caller will process before this one; the lease grows accordingly.
    """
    epoch, name, until = epochs.current(), uuid4().hex, now + CLAIM_LEASE_MS * (1 + ahead)
    evidence = msgspec.json.encode(sighting).decode()
    asked = {"pair": pair, "level": sighting.level, "most": CLAIM_MAX, "name": name, "lease": str(until)}
    ids = take(msgspec.msgpack.encode(asked | {"evidence": evidence}))
    return Claim(name, pair, tuple(ids), sighting, epoch) if ids else None


@step("fire", Store.REDIS, "orders are claimed out of their bucket")
def take(asked: bytes) -> list[str]:
    ids: list[str] = CLAIM()([], [asked])
    return ids


@step("take-over", Store.REDIS, "a dead worker's claim is taken over")
def abandoned(pair: str, now: int) -> list[Claim]:
    """Take over the claims whose lease has expired."""
    epoch = epochs.current()
    found = TAKE_OVER()([tagged("limit_claims", pair)], [now, now + CLAIM_LEASE_MS])
    claims = []
    for name, text in zip(found[::2], found[1::2], strict=True):
        ids, _, evidence = text.partition(" ")
        claims.append(Claim(name, pair, tuple(ids.split(",")), msgspec.json.decode(evidence, type=Sighting), epoch))
    return claims


def claimed(pairs: Iterable[str]) -> set[str]:
    """Return the orders of these pairs that are out of their buckets because a worker is triggering them."""
    pipe = redis().pipeline(transaction=False)
    for pair in pairs:
        pipe.hvals(tagged("limit_claims", pair))
    return {order_id for claims in pipe.execute() for text in claims for order_id in text.split(" ", 2)[1].split(",")}


@step("fired", Store.REDIS, "the claim on fired orders is removed")
def settle(done: Claim) -> None:
    """Delete a claim whose orders have triggered, unless Redis has lost data since: then it is taken over later."""
    SETTLE()([tagged("limit_claims", done.pair), EPOCH], [done.epoch, done.id])


def pairs() -> list[str]:
    """Return the pairs on which orders rest or are being triggered."""
    return sorted(PAIRS()())


@step("overdue", Store.REDIS, "expired orders are reserved for this caller")
def expired(now: int, limit: int) -> list[str]:
    """Return expired waiting orders, earliest expiry first, and postpone each, so that no other worker takes it."""
    ids: list[str] = EXPIRED()(["waiting:expiring"], [now, limit, now + EXPIRY_PUT_OFF_MS])
    return ids


def forget_expiry(order_ids: Sequence[str], now: int) -> None:
    """Drop orders that `expired` returned at `now` and that no longer wait; one resting again keeps its new time."""
    if order_ids:
        FORGET_EXPIRY()(["waiting:expiring"], [now + EXPIRY_PUT_OFF_MS, *order_ids])


@dataclass(frozen=True, slots=True)
class Watched:
    """The volume windows, in milliseconds, and the pairs for which one token has an index."""

    windows: list[int]
    pairs: list[str]


def watched(mints: Iterable[str]) -> dict[str, Watched]:
    """Return, by token, the windows and pairs that armed orders watch."""
    names = list(dict.fromkeys(mints))
    pipe = redis().pipeline(transaction=False)
    for mint in names:
        for several in ("windows", "pairs"):
            pipe.smembers(f"{tagged('snipe', mint)}:{several}")
    found = pipe.execute() if names else []
    return {
        mint: Watched(sorted(int(seconds) * 1000 for seconds in windows), sorted(pairs))
        for mint, windows, pairs in zip(names, found[::2], found[1::2], strict=True)
    }


Reached = Mapping[str, int | None]
"""Indexes of a token, each with the highest threshold its market has reached; None means all of them."""


def met(reached: Mapping[str, Reached]) -> Iterator[tuple[str, list[str]]]:
    """Yield, by token, pages of the armed orders whose threshold is reached, each order once.

    The caller moves the orders of a page on; orders that stay in their index are not yielded again.
    """
    asked = [
        (mint, f"{tagged('snipe', mint)}:{index}", most) for mint, all in reached.items() for index, most in all.items()
    ]
    pipe = redis().pipeline(transaction=False)
    for _, key, most in asked:
        pipe.zrangebyscore(key, "-inf", bound(most), start=0, num=PAGE)
    pages: dict[str, set[str]] = {mint: set() for mint in reached}
    full = []
    for (mint, key, most), ids in zip(asked, pipe.execute() if asked else [], strict=True):
        pages[mint].update(ids)
        if len(ids) == PAGE:
            full.append((mint, key, most))
    # Oldest first: ids sort by time.
    yield from ((mint, sorted(ids)) for mint, ids in pages.items() if ids)
    for mint, key, most in full:
        yield from ((mint, page) for page in further(key, most, pages[mint]))


def further(key: str, most: int | None, seen: set[str]) -> Iterator[list[str]]:
    """Yield pages of the orders of an index that are not in `seen`, adding them to it, until none is left."""
    window = PAGE
    while True:
        ids: list[str] = redis().zrangebyscore(key, "-inf", bound(most), start=0, num=window)  # type: ignore[assignment]
        if new := [order_id for order_id in ids if order_id not in seen][:PAGE]:
            seen.update(new)
            yield new
        elif len(ids) < window:
            return
        else:
            # All of these stayed in the index, so new orders come after them.
            window += PAGE


def bound(most: int | None) -> int | str:
    return "+inf" if most is None else most


def where(order_ids: Sequence[str], places: Sequence[str]) -> list[bool]:
    """Tell for each order whether it is in the place that its live state names."""
    pipe = redis().pipeline(transaction=False)
    for order_id, place in zip(order_ids, places, strict=True):
        kind, _, rest = place.partition(" ")
        tag, _, price = rest.partition(" ")
        pipe.zscore(f"{tagged('limit_bucket' if kind == 'limit' else 'snipe', tag)}:{price}", order_id)
    return [score is not None for score in (pipe.execute() if order_ids else [])]


def place_of(key: str) -> str:
    """Return the place, as live state names it, that belongs to the key of a bucket or an index."""
    family, _, rest = key.partition(":{")
    tag, _, where = rest.partition("}:")
    return f"{'limit' if family == 'limit_bucket' else 'snipe'} {tag} {where}"


def members(key: str, limit: int) -> list[str]:
    return list(map(str, redis().zrange(key, 0, limit - 1)))
