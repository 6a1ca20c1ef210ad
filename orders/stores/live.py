"""The live state of orders in Redis: owner of `order:{id}`, its `:events`, and the `orders:` keys.

| key | type | holds |
|---|---|---|
| `order:{id}` | hash | the order and its state; see below |
| `order:{id}:events` | stream | the order's events; entry ids are `<seq>-0` |
| `orders:events` | stream | every event of every order, a batch per entry, for servers and DBSync |
| `orders:open` | sorted set | unfinished orders by when they are due for a worker or the sweep |
| `orders:rebuilt` | string | the epoch in which Redis was last rebuilt from Postgres |
| `orders:rebuilding` | string | present while a process rebuilds |
| `orders:alone` | string | lock of the worker that executes an order on its own (orders/stores/claims.py) |

Fields of the hash:

- `status`, `seq` (of the last event), `attempt` (number of the last claim), `order` (see order_codec.py);
- `fence`, `lease`, `held`: the current claim, when its lease expires, and the epoch it was taken in;
- `ready` (when the order may be claimed again), `lapses` (consecutive workers that did not hand it back), `away`
  (consecutive times that nothing could be tried), `sweeps` (times the sweep returned it; sets the sweep's backoff);
- `tx` (signature of the submitted transaction), `base` (attempts that do not count towards MAX_ATTEMPTS);
- `owner` (account that placed it);
- `waits`, `place`, `returns` for an order that waits;
- `intent`, `intended` while the order's end or amendment is being committed.

All of this can be rebuilt from Postgres and the chain.  Times are by Redis' clock.  Claims are in
orders/stores/claims.py, moves in orders/stores/swaps.py; their scripts are in orders/stores/lua/.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from engine.lifecycle import FINAL, Status
from engine.orders import Order
from engine.triggers import Watch
from orders.stores import event_codec, lookups, order_codec
from orders.stores.scripts import LUA, PREFIX
from routing.catalogue import UnknownPair
from routing.crashpoints import Store, step
from routing.store import lua, redis, script

if TYPE_CHECKING:
    from redis.asyncio import Redis as Client

log = structlog.get_logger(__name__)


FEED = "orders:events"
FEED_MAX = 20_000
"""Maximum entries in the feed.  DBSync trims it much earlier; recovery feeds events again that were cut unread."""
OPEN = "orders:open"

GRACE_MS = 5_000
"""How long an accepted order may wait for its message before the sweep sends another."""
SUBMITTED_GRACE_MS = 15_000
"""How long an order may stay submitted before the sweep checks its transaction."""
BACKOFF_MAX_MS = 60_000


@dataclass(frozen=True, slots=True)
class Live:
    """The part of the live state that shows whether the order was moved, and whose it is.

    `tx` is "" unless one is submitted.
    """

    status: Status
    seq: int
    fence: str
    tx: str
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """An order's live state, read without a claim; `level` is its price level, `place` its place in the book."""

    order: Order
    status: Status
    seq: int
    attempt: int
    returns: int
    since: int
    level: int | None
    place: str


DUE = script(PREFIX + lua(LUA / "due.lua"))
REST = script(PREFIX + lua(LUA / "rest.lua"))
WATCH = script(PREFIX + lua(LUA / "watch.lua"))
EVICT = script(PREFIX + lua(LUA / "evict.lua"))
FORGET = script(PREFIX + lua(LUA / "forget.lua"))


def key(order_id: str) -> str:
    """Return an order's key; the braces are literal."""
    return f"order:{{{order_id}}}"


ANY = key("*")
"""The pattern of all order keys."""


def id_of(key: str) -> str:
    return key[len("order:{") : -1]


@dataclass(frozen=True, slots=True)
class Due:
    """Orders that are due, by the action they need."""

    hints: list[str]
    """To be executed, or to have their transaction checked."""
    missing: list[str]
    """They have no live state any more."""
    waiting: list[str]
    """They wait, but are not in the book."""
    intended: list[str]
    """They are reserved for an end or an amendment, and the lease of that reservation has expired."""


@step("due", Store.REDIS, "the sweep has taken the due orders")
def due(limit: int, *, queue_is_long: bool = False) -> Due:
    """Return the orders that are due, and postpone them.

    While the queue is long, orders not yet started are left to the messages already in the queue.
    """
    return Due(*DUE()([], [limit, GRACE_MS, BACKOFF_MAX_MS, int(queue_is_long)]))


@step("rest", Store.REDIS, "the order is back in the book")
def rest(order_ids: Sequence[str]) -> list[str]:
    """Put waiting orders into the book at their place; return those that still wait."""
    rested: list[str] = REST()([], order_ids) if order_ids else []
    return rested


def evict(place: str, order_ids: Sequence[str]) -> int:
    """Remove orders from a place in the book that is not theirs; return how many were removed."""
    return int(EVICT()([], [place, *order_ids])) if order_ids else 0


@step("watch-for", Store.REDIS, "the sniper order watches for an unmet condition")
def watch_for(orders: Sequence[tuple[Order, Watch]]) -> None:
    """Move armed sniper orders to the indexes of the values they now wait for."""
    args: list[Any] = []
    for order, watch in orders:
        args += [order.id, order.pair.token_out.mint, watch.watched, watch.at_least]
    if args:
        WATCH()([], args)


def standing(order_ids: Sequence[str]) -> dict[str, Standing]:
    """Return the orders that have live state, with that state; orders whose pair no longer exists are left out."""
    pipe = redis().pipeline(transaction=False)
    for order_id in order_ids:
        pipe.hmget(key(order_id), "status", "seq", "attempt", "returns", "place", "order")
    answers = pipe.execute() if order_ids else []
    found = {}
    for order_id, (status, seq, attempt, returns, place, text) in zip(order_ids, answers, strict=True):
        if status is None:
            continue
        body = order_codec.loads(text)
        at_level = body.level if body.rest_level is None else body.rest_level
        try:
            order = order_codec.order_from(body)
        except UnknownPair as pair:
            log.error("order skipped, its pair is not in the catalogue", order_id=order_id, pair=str(pair))
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


def standing_with_events(asked: Sequence[tuple[str, int]]) -> list[tuple[Live | None, list[str]]]:
    """Return each order's state and the JSON of its events past the given seq; (None, []) without live state."""
    pipe = redis().pipeline(transaction=False)
    for order_id, after in asked:
        pipe.hmget(key(order_id), *LIVE)
        pipe.xrange(f"{key(order_id)}:events", min=f"({after}-0")
    answers = pipe.execute() if asked else []
    return [
        (as_live(found), [fields["e"] for _, fields in entries] if found[0] else [])
        for found, entries in zip(answers[::2], answers[1::2], strict=True)
    ]


def last_events(order_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the last event of each order that has live state."""
    pipe = redis().pipeline(transaction=False)
    for order_id in order_ids:
        pipe.xrevrange(f"{key(order_id)}:events", count=1)
    answers = pipe.execute() if order_ids else []
    return {i: event_codec.load(found[0][1]["e"]) for i, found in zip(order_ids, answers, strict=True) if found}


@step("feed-again", Store.REDIS, "the order's events are in the feed again")
def feed_again(order_ids: Sequence[str]) -> None:
    """Publish all events of these orders to the feed again; readers skip those they already have."""
    lines, told = [], events(order_ids)
    ended = {order_id for order_id, one in statuses(list(told)).items() if one.status in FINAL}
    for order_id, texts in told.items():
        has_ended = order_id in ended
        lines += [f"{order_id} {seq} {int(has_ended and seq == len(texts))} {t}" for seq, t in enumerate(texts, 1)]
    if lines:
        redis().xadd(FEED, {"b": "\n".join(lines)}, maxlen=FEED_MAX, approximate=True)


def statuses(order_ids: Sequence[str]) -> dict[str, Live]:
    """Return the status, seq, fence and transaction of the orders that have live state."""
    pipe = redis().pipeline(transaction=False)
    for order_id in order_ids:
        pipe.hmget(key(order_id), *LIVE)
    answers = pipe.execute() if order_ids else []
    found = {order_id: as_live(fields) for order_id, fields in zip(order_ids, answers, strict=True)}
    return {order_id: one for order_id, one in found.items() if one}


async def owners(client: "Client", order_ids: Sequence[str]) -> dict[str, int | None]:
    """Return the account of each order, by an event loop's own client; None for one without live state or account."""
    pipe = client.pipeline(transaction=False)
    for order_id in order_ids:
        pipe.hget(key(order_id), "owner")
    answers = await pipe.execute()
    return {order_id: int(owner) if owner else None for order_id, owner in zip(order_ids, answers, strict=True)}


LIVE = ("status", "seq", "fence", "tx", "owner")
"""The fields of the hash that `Live` holds."""


def as_live(fields: Sequence[str | None]) -> Live | None:
    """Read LIVE; None if the order has no live state."""
    status, seq, fence, tx, owner = fields
    return Live(Status(status), int(seq or 0), fence or "", tx or "", int(owner) if owner else None) if status else None


def versions(order_ids: Sequence[str]) -> dict[str, int]:
    """Return the version of the terms of each order that has live state."""
    pipe = redis().pipeline(transaction=False)
    for order_id in order_ids:
        pipe.hget(key(order_id), "order")
    answers = pipe.execute() if order_ids else []
    return {i: order_codec.loads(text).terms_seq for i, text in zip(order_ids, answers, strict=True) if text}


def name_transactions(signatures: Mapping[str, str]) -> None:
    """Record the signatures of submitted orders whose live state names none."""
    pipe = redis().pipeline(transaction=False)
    for order_id, signature in signatures.items():
        pipe.hsetnx(key(order_id), "tx", signature)
    if signatures:
        pipe.execute()


@step("forget", Store.REDIS, "the order's TTL in Redis is set")
def forget(order_ids: Collection[str], after_s: int) -> None:
    """Make finished orders that Postgres has in full expire from Redis after `after_s`."""
    if order_ids:
        FORGET()([], [after_s, *order_ids])


@dataclass(frozen=True, slots=True)
class Load:
    """The current load: orders due or scheduled, how overdue the oldest is, and open attempts."""

    orders: int
    overdue_ms: int
    attempts: int


def load(now: int) -> Load:
    """Measure the load, in one round trip."""
    pipe = redis().pipeline(transaction=False)
    pipe.zcard(OPEN)
    pipe.zrange(OPEN, 0, 0, withscores=True)
    pipe.zcard(lookups.OPEN)
    orders, first, attempts = pipe.execute()
    return Load(orders, max(0, now - int(first[0][1])) if first else 0, attempts)
