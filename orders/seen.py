"""An order as a client sees it: its row, brought up to the moment by its live events."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any
from uuid import UUID

import structlog

from engine.events import moment
from engine.lifecycle import FINAL, Status
from engine.money import BPS, from_units, plain
from engine.orders import OrderType
from engine.quotes import Pair, Quote
from orders import live, models, past, recovery
from orders.archive import COMMON
from orders.terms import epoch_ms
from routing import quotes
from routing.catalogue import catalogue
from routing.store import StoreError, now_ms

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class History:
    """An order's events past some seq, as JSON, and whether the last of all is among or before them."""

    events: tuple[tuple[int, str], ...]
    finished: bool


def history(order_id: str, after: int = 0) -> History | None:
    """Return an order's events past `after`, or None if there is no such order.

    From Redis while they are there, from Postgres otherwise.
    """
    try:
        found = live.statuses([order_id]).get(order_id)
        texts = live.events([order_id], after).get(order_id, []) if found else []
        # The two expire together, but not in one instant.
        if found and after + len(texts) >= found[1]:
            return History(tuple(enumerate(texts, after + 1)), finished_at(found, after + len(texts)))
    except StoreError as reason:
        log.warning("live state unreachable, reading the archive", order_id=order_id, reason=str(reason))
    return archived(order_id, after)


def finished_at(found: tuple[Status, int], seq: int) -> bool:
    """Tell whether a reader who has all up to `seq` has the order's last event."""
    status, last = found
    return status in FINAL and seq >= last


def archived(order_id: str, after: int) -> History | None:
    """Return what Postgres knows of an order's events."""
    row = models.Order.objects.filter(pk=order_id).prefetch_related("events", "attempts").first()
    # Looked for last: one that leaves between those queries is whole here.
    kept = past.find(order_id)
    if kept is not None:
        known = told(kept)
    elif row is not None:
        known = recovery.history(row)
    else:
        return None
    texts = tuple((event["seq"], live.encode(event)) for event in known[after:])
    return History(texts, known[-1]["status"] in FINAL)


def told(kept: models.ArchivedOrder) -> list[dict[str, Any]]:
    """Return what the clients of an archived order were told."""
    return recovery.merged(past.order(kept), past.events(kept), past.attempts(kept))


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
    ahead = last if last and last["seq"] > row.seq else None
    result = {name: value for name, value in ahead.items() if name not in COMMON} if ahead else row.result
    return {
        "orderId": str(row.id),
        "clientOrderId": row.client_order_id,
        "type": row.type,
        "pair": row.pair,
        "tokenIn": pair.token_in.symbol,
        "tokenOut": pair.token_out.symbol,
        "amount": plain(from_units(int(row.amount_in), pair.token_in)),
        "slippageBps": row.slippage_bps,
        **terms(row),
        "status": ahead["status"] if ahead else row.status,
        "seq": ahead["seq"] if ahead else row.seq,
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
