"""How much a caller may ask for: orders per minute, orders that rest at a time, open sockets and followed orders.

Each server process counts for itself, so what a key may place per minute, open and follow is, with N API processes, at
most N times its limit.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.orders import Order
from orders.access.callers import Caller
from orders.flow.batcher import batcher
from orders.models.order import WAITING_SQL
from orders.stores.rows import fetch
from orders.stores.threads import one_per_loop

WINDOW_S = 60
COUNTED_S = 1.0
"""Age from which the orders that rest are counted again."""
WITHIN_S = 5.0
FORGET_AT = 10_000
"""Accounts and keys remembered, at most."""


class Limited(Exception):
    """The caller has reached a limit; clients know which by the code."""

    code: str


class RateLimited(Limited):
    """The key has placed as many orders as it may for now."""

    code = "rate_limited"


class TooManyOpen(Limited):
    """As many of the account's orders rest as may."""

    code = "too_many_open"


class TooManySockets(Limited):
    """The caller has as many sockets open as it may."""

    code = "too_many_sockets"


class TooManyFollows(Limited):
    """The caller's sockets follow as many orders as they may."""

    code = "too_many_follows"


@dataclass(slots=True)
class Bucket:
    """A token bucket: `left` orders at the time `at`; it fills within WINDOW_S."""

    left: float
    at: float


@dataclass(slots=True)
class Resting:
    """An account's resting orders: how many were counted at `counted_at`, with those accepted since."""

    counted_at: float = float("-inf")
    there: int = 0
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)


buckets: dict[int | None, Bucket] = {}


@one_per_loop
def resting() -> dict[int, Resting]:
    """Return what this server knows of accounts' resting orders."""
    return {}


async def spend(caller: Caller, orders: Sequence[Order]) -> float | None:
    """Count these orders against the caller's limits; return what `give_back` asks for.

    Raises RateLimited or TooManyOpen and then counts none, Late, DatabaseError.
    """
    waiting, counted_at = sum(order.waits for order in orders), None
    if waiting and caller.open_orders_max is not None:
        counted_at = await make_room(caller.owner, waiting, caller.open_orders_max)
    if caller.orders_per_minute is not None:
        bucket = filled(caller, time.monotonic())
        if bucket.left < len(orders):
            raise RateLimited(f"{caller.name} may place {caller.orders_per_minute} orders per minute")
        bucket.left -= len(orders)
    return counted_at


def give_back(caller: Caller, counted_at: float | None, *, repeats: int, not_resting: int) -> None:
    """Count no more what stood already, nor as resting what was not accepted; `counted_at` is what `spend` returned."""
    if caller.orders_per_minute is not None and repeats:
        filled(caller, time.monotonic()).left += repeats
    mine = resting().get(caller.owner)
    # A count since then has left them out.
    if mine and mine.counted_at == counted_at:
        mine.there -= not_resting


def filled(caller: Caller, now: float) -> Bucket:
    limit = caller.orders_per_minute or 0
    if len(buckets) > FORGET_AT:
        buckets.clear()
    bucket = buckets.setdefault(caller.key, Bucket(limit, now))
    bucket.left, bucket.at = min(limit, bucket.left + (now - bucket.at) * limit / WINDOW_S), now
    return bucket


async def make_room(owner: int, count: int, most: int) -> float:
    known = resting()
    if len(known) > FORGET_AT:
        known.clear()
    mine = known.setdefault(owner, Resting())
    async with mine.one_at_a_time:
        if time.monotonic() - mine.counted_at > COUNTED_S:
            counted_at = time.monotonic()
            mine.there = await batcher().beside.run(WITHIN_S, open_of, owner, most)
            mine.counted_at = counted_at
        if mine.there + count > most:
            raise TooManyOpen(f"{mine.there} orders of this account rest, of at most {most}; cancel some")
        mine.there += count
        return mine.counted_at


def open_of(owner: int, most: int) -> int:
    """Count the resting orders of an account, up to what matters."""
    sql = f"SELECT count(*) FROM (SELECT 1 FROM orders_order WHERE owner_id = %s AND {WAITING_SQL} LIMIT %s) AS o"  # noqa: S608
    ((count,),) = fetch(sql, owner, most)
    return int(count)


def told(caller: Caller) -> Mapping[str, str]:
    """Return the headers that say what is left, as draft-ietf-httpapi-ratelimit-headers-10 writes them."""
    limit = caller.orders_per_minute
    if limit is None:
        return {}
    left = filled(caller, time.monotonic()).left
    full_in = int((limit - left) * WINDOW_S / limit) if limit else WINDOW_S
    return {"RateLimit-Policy": f'"orders";q={limit};w={WINDOW_S}', "RateLimit": f'"orders";r={int(left)};t={full_in}'}
