"""The live state of orders in Redis: owner of `order:{id}`, its `:events`, and the `orders:` keys.

| key | type | holds |
|---|---|---|
| `order:{id}` | hash | where the order stands, and the order itself; see below |
| `order:{id}:events` | stream | the order's events; entry ids are `<seq>-0` |
| `orders:events` | stream | every event of every order, a batch per entry, for servers and DBSync |
| `orders:open` | sorted set | unfinished orders by when somebody must look at them |
| `orders:rebuilt` | string | the epoch since whose beginning all that Postgres knows is here |
| `orders:rebuilding` | string | present while some process rebuilds |
| `orders:alone` | string | present while some worker carries an order by itself (orders/stores/claims.py) |

Fields of the hash: `status`, `seq` (of the last event), `attempt` (number of the last claim), `order` (order_codec.py);
`fence`, `lease`, `held` (the claim it is in, until when, and in which epoch), `ready` (when it may be claimed again),
`lapses` (workers in a row that did not hand it back), `away` (times in a row that nothing could be tried), `sweeps`;
`tx` (the transaction it is submitted as); `base` (attempts that do not count); `waits`, `place`, `returns` of one that
waits; `intent`, `intended` while its end or amendment is being committed.

All of it can be rebuilt from Postgres and the chain.  Times are Redis' own.  Claims are in orders/stores/claims.py,
moves in orders/stores/swaps.py; their scripts are in orders/stores/lua/.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from engine.lifecycle import Status
from engine.orders import Order
from engine.triggers import Watch
from orders.stores import lookups, order_codec
from orders.stores.scripts import LUA, PREFIX
from routing.catalogue import UnknownPair
from routing.crashpoints import Store, step
from routing.store import lua, redis, script

log = structlog.get_logger(__name__)


FEED = "orders:events"
FEED_MAX = 20_000
"""Entries the feed keeps at most; DBSync trims it long before, and recovery feeds again what was cut off unread."""
OPEN = "orders:open"

GRACE_MS = 5_000
"""How long an accepted order may wait for its wake-up before the sweep sends another."""
SUBMITTED_GRACE_MS = 15_000
"""How long a submitted order may stand before the sweep asks what became of it."""
BACKOFF_MAX_MS = 60_000


@dataclass(frozen=True, slots=True)
class Live:
    """The part of an order's live state that tells whether somebody has moved it; `tx` "" while none is submitted."""

    status: Status
    seq: int
    fence: str
    tx: str


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


DUE = script(PREFIX + lua(LUA / "due.lua"))
REST = script(PREFIX + lua(LUA / "rest.lua"))
WATCH = script(PREFIX + lua(LUA / "watch.lua"))
EVICT = script(PREFIX + lua(LUA / "evict.lua"))
FORGET = script(PREFIX + lua(LUA / "forget.lua"))


def key(order_id: str) -> str:
    """Spell an order's key; the braces are literal."""
    return f"order:{{{order_id}}}"


ANY = key("*")
"""What every order's key matches."""


def id_of(key: str) -> str:
    """Return the id of the order whose key this is."""
    return key[len("order:{") : -1]


def decode(text: str) -> dict[str, Any]:
    """Read one event."""
    event: dict[str, Any] = msgspec.json.decode(text)
    return event


def encode(event: Mapping[str, Any]) -> str:
    """Write one event; a NUL in what a venue or a chain said, which Postgres cannot keep, becomes a mark."""
    text = msgspec.json.encode(event).decode()
    return msgspec.json.encode(without_nul(event)).decode() if "\\u0000" in text else text


def without_nul(value: Any) -> Any:
    """Put a mark in the place of every NUL."""
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case Mapping():
            return {name: without_nul(fact) for name, fact in value.items()}
        case list() | tuple():
            return [without_nul(fact) for fact in value]
    return value


@dataclass(frozen=True, slots=True)
class Due:
    """Orders whose time has come, by what is to be done about them."""

    hints: list[str]
    """Somebody must execute them, or ask what became of them."""
    missing: list[str]
    """Their live state is gone."""
    waiting: list[str]
    """They wait beside the book."""
    intended: list[str]
    """Their end or amendment is to be committed, and whoever was at it has gone."""


@step("due", Store.REDIS, "the sweep has orders whose time has come")
def due(limit: int, *, queue_is_long: bool = False) -> Due:
    """Return orders whose time has come, and put them off.

    While the queue is long, orders nobody has begun are left to the messages in it.
    """
    return Due(*DUE()([], [limit, GRACE_MS, BACKOFF_MAX_MS, int(queue_is_long)]))


@step("rest", Store.REDIS, "the order is back in the book")
def rest(order_ids: Sequence[str]) -> list[str]:
    """Put waiting orders into the book, where they belong; return those that still wait."""
    rested: list[str] = REST()([], order_ids) if order_ids else []
    return rested


def evict(place: str, order_ids: Sequence[str]) -> int:
    """Take orders out of a place in the book where they do not rest; return how many that were."""
    return int(EVICT()([], [place, *order_ids])) if order_ids else 0


@step("watch-for", Store.REDIS, "the sniper order watches for what is not met yet")
def watch_for(orders: Sequence[tuple[Order, Watch]]) -> None:
    """Have armed sniper orders watch for these things."""
    args: list[Any] = []
    for order, watch in orders:
        args += [order.id, order.pair.token_out.mint, watch.watched, watch.at_least]
    if args:
        WATCH()([], args)


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
        body = order_codec.loads(text)
        at_level = body.level if body.rest_level is None else body.rest_level
        try:
            order = order_codec.order_from(body)
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


@step("feed-again", Store.REDIS, "the order's events are in the feed once more")
def feed_again(order_ids: Sequence[str]) -> None:
    """Put all events of these finished orders into the feed once more; whoever has them skips them."""
    lines = []
    for order_id, texts in events(order_ids).items():
        lines += [f"{order_id} {seq} {int(seq == len(texts))} {text}" for seq, text in enumerate(texts, 1)]
    if lines:
        redis().xadd(FEED, {"b": "\n".join(lines)}, maxlen=FEED_MAX, approximate=True)


def statuses(order_ids: Sequence[str]) -> dict[str, Live]:
    """Return where those orders stand that have live state."""
    pipe = redis().pipeline(transaction=False)
    for order_id in order_ids:
        pipe.hmget(key(order_id), "status", "seq", "fence", "tx")
    answers = pipe.execute() if order_ids else []
    return {
        order_id: Live(Status(found[0]), int(found[1]), found[2] or "", found[3] or "")
        for order_id, found in zip(order_ids, answers, strict=True)
        if found[0]
    }


def versions(order_ids: Sequence[str]) -> dict[str, int]:
    """Return the version of the terms with which those orders stand that have live state."""
    pipe = redis().pipeline(transaction=False)
    for order_id in order_ids:
        pipe.hget(key(order_id), "order")
    answers = pipe.execute() if order_ids else []
    return {i: order_codec.loads(text).terms_seq for i, text in zip(order_ids, answers, strict=True) if text}


def name_transactions(signatures: Mapping[str, str]) -> None:
    """Note as which transactions orders are submitted, where that is not known."""
    pipe = redis().pipeline(transaction=False)
    for order_id, signature in signatures.items():
        pipe.hsetnx(key(order_id), "tx", signature)
    if signatures:
        pipe.execute()


@step("forget", Store.REDIS, "the order is to leave Redis after a while")
def forget(order_ids: Collection[str], after_s: int) -> None:
    """Let finished, archived orders leave Redis after a while."""
    if order_ids:
        FORGET()([], [after_s, *order_ids])


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
