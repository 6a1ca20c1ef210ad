"""An order as a client sees it: its row, brought up to the moment by its live events."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any
from uuid import UUID

import structlog

from engine.cursor import Cursor, in_common
from engine.events import moment
from engine.lifecycle import FINAL, Status
from engine.money import BPS, from_units, plain
from engine.orders import OrderType
from engine.quotes import Pair, Quote
from orders import models
from orders.stores import history as known_history
from orders.stores import live, retired, swaps
from orders.stores.terms import epoch_ms
from routing import epochs, quotes
from routing.catalogue import catalogue
from routing.store import StoreError, now_ms

log = structlog.get_logger(__name__)

START = Cursor()
"""Where a client stands that has seen nothing."""


@dataclass(frozen=True, slots=True)
class History:
    """An order's events past what a client has seen, as JSON, and whether the last of all is among or before them.

    `rewound` is where the client's history and this one part, for a client that has seen events which belong to the
    order no longer.
    """

    events: tuple[tuple[Cursor, str], ...]
    finished: bool
    rewound: Cursor | None = None


def history(order_id: str, seen: Cursor = START) -> History | None:
    """Return an order's events past what a client has seen, or None if there is no such order.

    From Redis while they are there, from Postgres otherwise.
    """
    try:
        found = live.statuses([order_id]).get(order_id)
        texts = live.events([order_id], max(0, seen.seq - 1)).get(order_id, []) if found else []
        # The two expire together, but not in one instant.
        if found and max(0, seen.seq - 1) + len(texts) >= found.seq:
            finished = found.status in FINAL
            if seen.seq < 2 or (texts and cursor_of(texts[0]) == seen):
                new = texts[1:] if seen.seq else texts
                return History(tuple((cursor_of(text), text) for text in new), finished)
            if may_be_behind(order_id):
                return History((), finished=False)
            return past(seen, live.events([order_id]).get(order_id, []), finished=finished)
    except StoreError as reason:
        log.warning("live state unreachable, reading the archive", order_id=order_id, reason=str(reason))
    return archived(order_id, seen)


def may_be_behind(order_id: str) -> bool:
    """Tell whether Redis may soon have of an order what a client has seen already.

    It was started again and is not yet compared with Postgres, or the order's end or amendment is being committed: that
    may have been told, and forgotten with it.
    """
    return epochs.recall() is epochs.Recall.DOUBTFUL or bool(swaps.reserved([order_id]))


def cursor_of(text: str) -> Cursor:
    """Find an event's epoch and seq; they stand behind its order's id, so nothing need be decoded."""
    if text.startswith('"epoch":', EPOCH_AT - 8):
        epoch, _, rest = text[EPOCH_AT:].partition(",")
        return Cursor(int(rest[len('"seq":') : rest.index(",")]), int(epoch))
    # Written by the version before this one.
    event = live.decode(text)
    return Cursor(event["seq"], event.get("epoch", 0))


EPOCH_AT = len('{"orderId":"","epoch":') + 36


def past(seen: Cursor, texts: Sequence[str], *, finished: bool) -> History:
    """Compare a whole history with what a client has seen."""
    known = [(cursor_of(text), text) for text in texts]
    made = [cursor.epoch or 0 for cursor, _ in known]
    shared = in_common(seen, made)
    if finished and seen.seq > 1 and (seen.epoch or 0) > made[-1]:
        # It was told something after the end, which nobody has withdrawn yet; how much of it, nobody knows.
        shared = 1
    if shared >= seen.seq:
        return History(tuple(known[shared:]), finished)
    # Later than anything that is withdrawn, so that none of it is taken for news, and no later than what follows.
    epoch = made[shared] if shared < len(made) else max(made[-1], epochs.read() or 0, seen.epoch or 0)
    return History(tuple(known[shared:]), finished, Cursor(shared, epoch))


def archived(order_id: str, seen: Cursor) -> History | None:
    """Return what Postgres knows of an order's events.

    It may be behind what a client has seen, and not yet have been told: only an order that has ended is rewound by it.
    """
    row = models.Order.objects.filter(pk=order_id).prefetch_related("events", "attempts").first()
    # Looked for last: one that leaves between those queries is whole here.
    kept = retired.find(order_id)
    if kept is not None:
        known = known_history.of_archived(kept)
    elif row is not None:
        known = known_history.of(row)
    else:
        return None
    finished = known[-1]["status"] in FINAL
    found = past(seen, [live.encode(event) for event in known], finished=finished)
    return History((), finished=False) if found.rewound and not finished else found


def uuid_or_none(text: str) -> str | None:
    """Return an order id in its one spelling, or None if it is not one."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def shown(rows: Sequence[models.Order], links: Callable[[str], Mapping[str, str]]) -> list[dict[str, Any]]:
    """Describe orders as they stand; `links` makes the addresses of one by its id."""
    last = last_events([str(row.id) for row in rows])
    standing = [as_json(row, last.get(str(row.id)), links(str(row.id))) for row in rows]
    waiting = [one for one, row in zip(standing, rows, strict=True) if rests(one)]
    best = best_of({traded(one["pair"]).name for one in waiting})
    for one in waiting:
        one["resting"] = resting(one, best.get(traded(one["pair"]).name))
    return standing


def as_json(row: models.Order, last: Mapping[str, Any] | None, links: Mapping[str, str]) -> dict[str, Any]:
    """Describe an order, all but what it rests beside; `last` is its last live event, if that is ahead of the row."""
    pair = traded(row.pair)
    ahead = last if last and is_ahead(last, row) else None
    result = known_history.facts_of(ahead) if ahead else row.result
    return {
        "orderId": str(row.id),
        "clientOrderId": row.client_order_id,
        "type": row.type,
        "pair": row.pair,
        "tokenIn": pair.token_in.symbol,
        "tokenOut": pair.token_out.symbol,
        "amount": plain(from_units(int(row.amount_in), pair.token_in)),
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
    """Tell whether a live event is later than what its row says; an end in Postgres is the end."""
    return row.status not in models.FINALS and (event["epoch"], event["seq"]) > (row.epoch, row.seq)


def traded(pair: str) -> Pair:
    """Return an order's pair."""
    return catalogue().pair(pair)


def terms(row: models.Order) -> dict[str, Any]:
    """Describe what a waiting order waits for, and how long.

    Always by its row: an amendment is committed there before anybody is told.
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
    """Tell whether an order, described, waits for its price or its event."""
    return bool(order["status"] == Status.PENDING and order["type"] != OrderType.MARKET)


def resting(order: Mapping[str, Any], best: Quote | None) -> dict[str, Any]:
    """Describe what a waiting order waits beside: BEST, and for a limit order how far it still is from the price."""
    price = plain(best.net_price) if best else None
    if order["type"] != OrderType.LIMIT:
        return {"best": price}
    away = away_bps(Decimal(order["limitPrice"]), best.net_price) if best else None
    return {"best": price, "ageMs": best.age(now_ms()) if best else None, "awayBps": away}


def away_bps(limit: Decimal, best: Decimal) -> str:
    """Return how far BEST must rise to reach a limit price, in bps of BEST to two places, rounded up; 0 once there."""
    if best >= limit:
        return "0"
    away = UPWARD.multiply(UPWARD.subtract(UPWARD.divide(limit, best), Decimal(1)), Decimal(BPS))
    return plain(UPWARD.quantize(away, Decimal("0.01")))


UPWARD = Context(prec=100, rounding=ROUND_CEILING)
"""Only a price that has been reached is 0 away; wide enough for any price over any other."""


def best_of(pairs: Iterable[str]) -> dict[str, Quote]:
    """Return BEST of each pair that has one, in one round trip; none while Redis is away."""
    try:
        return {name: known.best for name, known in quotes.cached(pairs).items() if known.best}
    except StoreError as reason:
        log.warning("quotes unreachable, orders are shown without", reason=str(reason))
        return {}


def last_events(order_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the last live event of each order that has one; none while Redis is away."""
    try:
        return live.last_events(order_ids)
    except StoreError as reason:
        log.warning("live state unreachable, showing the archive", reason=str(reason))
        return {}
