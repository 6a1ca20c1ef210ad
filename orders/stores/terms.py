"""Write and read an order's terms in its row."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from engine import events
from engine.money import MATHS, plain
from engine.orders import Order, OrderType, TimeInForce
from engine.triggers import condition_from
from orders import models
from orders.stores.rows import fetch, recordset
from routing.catalogue import catalogue

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def as_columns(order: Order) -> dict[str, Any]:
    """Return the columns of the terms that an amendment may change, and of those that depend on them."""
    return {
        "amount_in": order.amount_in,
        "limit_price": order.limit_price and plain(order.limit_price),
        "max_price": order.max_price and plain(order.max_price),
        "time_in_force": order.time_in_force,
        "expires_at": order.expires_at and events.moment(order.expires_at),
    }


def order_of(row: models.Order) -> Order:
    """Build the engine's order from its row.

    Raises UnknownPair.
    """
    return Order(
        id=str(row.id),
        type=OrderType(row.type),
        pair=catalogue().pair(row.pair),
        amount_in=int(row.amount_in),
        slippage_bps=row.slippage_bps,
        client_order_id=row.client_order_id,
        limit_price=row.limit_price and MATHS.normalize(row.limit_price),
        max_price=row.max_price and MATHS.normalize(row.max_price),
        time_in_force=TimeInForce(row.time_in_force),
        expires_at=epoch_ms(row.expires_at) if row.expires_at else None,
        trigger=tuple(map(condition_from, row.trigger)),
        allow_unknown=row.allow_unknown,
        deadline=epoch_ms(row.deadline_at) if row.deadline_at else None,
        terms_seq=row.terms_seq,
        owner=row.owner_id,
        amount_out=None if row.amount_out is None else int(row.amount_out),
    )


def epoch_ms(at: datetime) -> int:
    """Convert a time to epoch milliseconds, without float rounding."""
    return (at - EPOCH) // MILLISECOND


SET = """
    UPDATE orders_order o
    SET amount_in = a.amount_in, limit_price = a.limit_price, max_price = a.max_price,
        time_in_force = a.time_in_force, expires_at = a.expires_at, terms_seq = a.seq
    FROM json_to_recordset(%s) AS a(id uuid, seq int, amount_in numeric, limit_price numeric, max_price numeric,
                                    time_in_force text, expires_at timestamptz)
    WHERE o.id = a.id AND o.terms_seq < a.seq
"""


def save(orders: Sequence[Order]) -> None:
    """Write the terms of orders, except where the row has the same or a later version."""
    if orders:
        fetch(SET, recordset({"id": order.id, "seq": order.terms_seq, **as_columns(order)} for order in orders))
