"""An order as a client sees it: its row, brought up to the moment by its live events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from engine.lifecycle import FINAL, Status
from engine.money import from_units, plain
from orders import live, models, recovery
from orders.archive import COMMON
from routing.catalogue import catalogue
from routing.store import StoreError

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
    if row is None:
        return None
    known = recovery.history(row)
    texts = tuple((event["seq"], live.encode(event)) for event in known[after:])
    return History(texts, known[-1]["status"] in FINAL)


def uuid_or_none(text: str) -> str | None:
    """Return an order id in its one spelling, or None if it is not one."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def as_json(row: models.Order, last: Mapping[str, Any] | None, links: Mapping[str, str]) -> dict[str, Any]:
    """Describe an order; `last` is its last live event, if that is ahead of the row."""
    pair = catalogue().pair(row.pair)
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
        "status": ahead["status"] if ahead else row.status,
        "seq": ahead["seq"] if ahead else row.seq,
        "attempt": ahead["attempt"] if ahead else row.attempt,
        "createdAt": row.created_at,
        "updatedAt": ahead["at"] if ahead else row.updated_at,
        "venue": result.get("venue") or row.venue or None,
        "txHash": result.get("txHash") or row.tx_hash or None,
        "result": result,
        "replayOf": row.replay_of_id,
        "links": links,
    }


def last_events(order_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the last live event of each order that has one; none while Redis is away."""
    try:
        return live.last_events(order_ids)
    except StoreError as reason:
        log.warning("live state unreachable, showing the archive", reason=str(reason))
        return {}
