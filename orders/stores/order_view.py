"""An order as clients see it: its row, updated with its live events."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError

from engine.cursor import Cursor, in_common
from engine.events import moment
from engine.lifecycle import FINAL, Status
from engine.money import BPS, from_units, plain
from engine.orders import OrderType
from engine.quotes import Pair, Quote
from orders import models
from orders.stores import conditions, event_codec, live, retired, swaps
from orders.stores import history as known_history
from orders.stores.live import Live
from orders.stores.terms import epoch_ms
from routing import epochs, quotes
from routing.catalogue import catalogue
from routing.store import StoreError, now_ms

log = structlog.get_logger(__name__)

START = Cursor()
"""The cursor of a client that has seen nothing."""


@dataclass(frozen=True, slots=True)
class History:
    """An order's events after a client's cursor, as JSON; `finished` tells whether the order's last event is known.

    `owner` is the account that placed the order.  `rewound` is set for a client that has seen events which no longer
    belong to the order: it is the point where the client's history and this one diverge.
    """

    events: tuple[tuple[Cursor, str], ...]
    finished: bool
    rewound: Cursor | None = None
    owner: int | None = None


def history(order_id: str, seen: Cursor = START) -> History | None:
    """Return an order's events after the client's cursor, or None if there is no such order.

    Reads Redis while it has them, Postgres otherwise.  Raises DatabaseError.
    """
    (found,) = live_histories([(order_id, seen)])
    return found or archived(order_id, seen)


def live_histories(asked: Sequence[tuple[str, Cursor]]) -> list[History | None]:
    """Return the same for many clients in one round trip; None for an order Redis lacks, and while it is away."""
    try:
        standing = live.standing_with_events([(order_id, max(0, seen.seq - 1)) for order_id, seen in asked])
        return [readable(order_id, seen, *known) for (order_id, seen), known in zip(asked, standing, strict=True)]
    except StoreError as reason:
        log.warning("live state unreachable, reading postgres", orders=len(asked), reason=str(reason))
        return [None] * len(asked)


def readable(order_id: str, seen: Cursor, found: Live | None, told_since: Sequence[str]) -> History | None:
    """Return the history of a live order, or None for one whose events make no sense, which must not harm others.

    Raises StoreError.
    """
    try:
        told = of_live(order_id, seen, found, told_since)
    except ValueError:
        log.exception("live events unreadable, reading postgres", order_id=order_id)
        return None
    if told is None or found is None:
        return None
    # A worker of an older version says not whose the orders are that it puts back into Redis.
    return replace(told, owner=owner_of(order_id) if found.owner is None else found.owner)


def owner_of(order_id: str) -> int | None:
    """Return the account that placed an order, as Postgres has it; None while Postgres is away."""
    try:
        return models.Order.objects.filter(pk=order_id).values_list("owner_id", flat=True).first()
    except DatabaseError:
        return None


def of_live(order_id: str, seen: Cursor, found: Live | None, told_since: Sequence[str]) -> History | None:
    """Return the history of a live order; `told_since` are its events from the client's last one on.

    Raises StoreError.
    """
    # The hash and the stream expire together, but not at the same instant.
    if found is None or max(0, seen.seq - 1) + len(told_since) < found.seq:
        return None
    finished, texts = found.status in FINAL, [event_codec.current(text) for text in told_since]
    if seen.seq < 2 or (texts and cursor_of(texts[0]) == seen):
        new = texts[1:] if seen.seq else texts
        return History(tuple((cursor_of(text), text) for text in new), finished)
    if may_be_behind(order_id):
        return History((), finished=False)
    return past(seen, told(order_id), finished=finished)


def told(order_id: str, after: int = 0) -> list[str]:
    """Return the JSON of an order's live events past `after`."""
    return [event_codec.current(text) for text in live.events([order_id], after).get(order_id, [])]


def may_be_behind(order_id: str) -> bool:
    """Tell whether Redis may be behind what the client has already seen of this order.

    That is the case if Redis was restarted and is not yet compared with Postgres, or if the order's end or amendment is
    being committed: its event may have been published and then lost by Redis.
    """
    return epochs.recall() is epochs.Recall.DOUBTFUL or bool(swaps.reserved([order_id]))


def cursor_of(text: str) -> Cursor:
    """Return an event's epoch and seq; they follow the order id at a fixed position, so nothing is decoded."""
    epoch, _, rest = text[EPOCH_AT:].partition(",")
    return Cursor(int(rest[len('"seq":') : rest.index(",")]), int(epoch))


EPOCH_AT = len('{"orderId":"","epoch":') + 36


def past(seen: Cursor, texts: Sequence[str], *, finished: bool) -> History:
    """Return the part of a complete history after the client's cursor, and where to rewind to if the two diverge."""
    known = [(cursor_of(text), text) for text in texts]
    made = [cursor.epoch or 0 for cursor, _ in known]
    shared = in_common(seen, made)
    if finished and seen.seq > 1 and (seen.epoch or 0) > made[-1]:
        # The client saw events after the end that have not been withdrawn; how many of its events differ is unknown.
        shared = 1
    if shared >= seen.seq:
        return History(tuple(known[shared:]), finished)
    # Later than all withdrawn events, so that none of them counts as new, and no later than the events that follow.
    epoch = made[shared] if shared < len(made) else max(made[-1], epochs.read() or 0, seen.epoch or 0)
    return History(tuple(known[shared:]), finished, Cursor(shared, epoch))


def archived(order_id: str, seen: Cursor) -> History | None:
    """Return an order's events as Postgres has them.

    Postgres may not yet have events that the client has seen, so only a finished order is rewound by it.
    """
    row = models.Order.objects.filter(pk=order_id).prefetch_related("events", "attempts").first()
    # Queried last: an order that is retired between these queries is complete here.
    kept = retired.find(order_id)
    if kept is not None:
        known, owner = known_history.of_archived(kept), kept.owner_id
    elif row is not None:
        known, owner = known_history.of(row), row.owner_id
    else:
        return None
    finished = known[-1]["status"] in FINAL
    found = past(seen, [event_codec.dump(event) for event in known], finished=finished)
    return History((), finished=False, owner=owner) if found.rewound and not finished else replace(found, owner=owner)


def uuid_or_none(text: str) -> str | None:
    """Return an order id in canonical form, or None if the text is not a UUID."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def shown(rows: Sequence[models.Order], links: Callable[[str], Mapping[str, str]]) -> list[dict[str, Any]]:
    """Describe orders in their current state; `links` returns an order's URLs by its id."""
    last = last_events([str(row.id) for row in rows])
    standing = [as_json(row, last.get(str(row.id)), links(str(row.id))) for row in rows]
    waiting = [(one, row) for one, row in zip(standing, rows, strict=True) if rests(one)]
    best = best_of({traded(one["pair"]).name for one, _ in waiting})
    seen = conditions.seen(row for _, row in waiting if row.type == OrderType.SNIPER)
    for one, _ in waiting:
        one["resting"] = resting(one, best.get(traded(one["pair"]).name), seen.get(one["orderId"]))
    return standing


def as_json(row: models.Order, last: Mapping[str, Any] | None, links: Mapping[str, str]) -> dict[str, Any]:
    """Describe an order, without `resting`; `last` is its last live event, used if it is ahead of the row."""
    pair = traded(row.pair)
    ahead = last if last and is_ahead(last, row) else None
    result = event_codec.facts_of(ahead) if ahead else event_codec.with_kind(row.status, row.result)
    return {
        "orderId": str(row.id),
        "clientOrderId": row.client_order_id,
        "type": row.type,
        "pair": row.pair,
        "tokenIn": pair.token_in.symbol,
        "tokenOut": pair.token_out.symbol,
        "amount": plain(from_units(int(row.amount_in), pair.token_in)),
        "amountOut": None if row.amount_out is None else plain(from_units(int(row.amount_out), pair.token_out)),
        "slippageBps": row.slippage_bps,
        "deadline": row.deadline_at and moment(epoch_ms(row.deadline_at)),
        **terms(row),
        "status": ahead["status"] if ahead else row.status,
        "seq": ahead["seq"] if ahead else row.seq,
        "epoch": ahead["epoch"] if ahead else row.epoch,
        "attempt": ahead["attempt"] if ahead else row.attempt,
        "createdAt": row.created_at,
        "updatedAt": ahead["at"] if ahead else row.updated_at,
        "venue": result.get("venue") or row.venue or None,
        "txHash": result.get("txHash") or row.tx_hash or None,
        "result": result,
        "replayOf": row.replay_of_id,
        "resting": None,
        "links": links,
    }


def is_ahead(event: Mapping[str, Any], row: models.Order) -> bool:
    """Tell whether a live event is later than the row; a final status in Postgres always takes precedence."""
    return row.status not in models.FINALS and (event["epoch"], event["seq"]) > (row.epoch, row.seq)


def traded(pair: str) -> Pair:
    return catalogue().pair(pair)


def terms(row: models.Order) -> dict[str, Any]:
    """Describe what a limit or sniper order waits for, and for how long.

    Always read from the row: an amendment is committed there before its event is published.
    """
    sniper = row.type == OrderType.SNIPER
    return {
        "limitPrice": None if row.limit_price is None else plain(row.limit_price),
        "maxPrice": None if row.max_price is None else plain(row.max_price),
        "timeInForce": None if row.type == OrderType.MARKET else row.time_in_force,
        "expiresAt": None if row.expires_at is None else moment(epoch_ms(row.expires_at)),
        "trigger": row.trigger if sniper else None,
        "allowUnknown": row.allow_unknown if sniper else None,
    }


def rests(order: Mapping[str, Any]) -> bool:
    """Tell whether a described order is resting."""
    return bool(order["status"] == Status.PENDING and order["type"] != OrderType.MARKET)


def resting(order: Mapping[str, Any], best: Quote | None, seen: Sequence[Any] | None) -> dict[str, Any]:
    """Describe the market for a resting order: BEST, and its distance from the limit price or the conditions `seen`."""
    price = plain(best.net_price) if best else None
    if order["type"] != OrderType.LIMIT:
        return {"best": price, "conditions": seen}
    away = away_bps(Decimal(order["limitPrice"]), best.net_price) if best else None
    return {"best": price, "ageMs": best.age(now_ms()) if best else None, "awayBps": away}


def away_bps(limit: Decimal, best: Decimal) -> str:
    """Return how far BEST must rise to reach the limit, in bps of BEST to two places, rounded up; 0 if reached."""
    if best >= limit:
        return "0"
    away = UPWARD.multiply(UPWARD.subtract(UPWARD.divide(limit, best), Decimal(1)), Decimal(BPS))
    return plain(UPWARD.quantize(away, Decimal("0.01")))


UPWARD = Context(prec=100, rounding=ROUND_CEILING)
"""Rounds up, so that the distance is 0 only once the price is reached; precise enough for any ratio of prices."""


def best_of(pairs: Iterable[str]) -> dict[str, Quote]:
    """Return BEST of each pair that has one, in one round trip; empty while Redis is down."""
    try:
        return {name: known.best for name, known in quotes.cached(pairs).items() if known.best}
    except StoreError as reason:
        log.warning("quotes unreachable, orders shown without them", reason=str(reason))
        return {}


def last_events(order_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the last live event of each order that has one; empty while Redis is down."""
    try:
        return live.last_events(order_ids)
    except StoreError as reason:
        log.warning("live state unreachable, showing postgres", reason=str(reason))
        return {}
