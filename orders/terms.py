"""An order's terms in its row: how they are written, read, and brought up to an amendment."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from engine import events
from engine.money import MATHS, plain, to_units
from engine.orders import Order, OrderType, TimeInForce
from engine.triggers import condition_from
from orders import models
from orders.rows import fetch, recordset
from routing.catalogue import catalogue

Amendment = tuple[str, int, Mapping[str, Any]]
"""An order's id, the seq of its `amended` event, and what that says was changed."""


def as_columns(order: Order) -> dict[str, Any]:
    """Write the terms that an amendment may change, and those that come with them."""
    return {
        "amount_in": order.amount_in,
        "limit_price": order.limit_price and plain(order.limit_price),
        "max_price": order.max_price and plain(order.max_price),
        "time_in_force": order.time_in_force,
        "expires_at": order.expires_at and events.moment(order.expires_at),
    }


def order_of(row: models.Order) -> Order:
    """Read the engine's order from its row.

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
    )


def epoch_ms(at: datetime) -> int:
    """Return a moment in epoch milliseconds, exactly."""
    whole = at.astimezone(UTC)
    return int(whole.replace(microsecond=0).timestamp()) * 1000 + whole.microsecond // 1000


SET = """
    UPDATE orders_order o
    SET amount_in = a.amount_in, limit_price = a.limit_price, max_price = a.max_price,
        time_in_force = a.time_in_force, expires_at = a.expires_at, terms_seq = a.seq
    FROM json_to_recordset(%s) AS a(id uuid, seq int, amount_in numeric, limit_price numeric, max_price numeric,
                                    time_in_force text, expires_at timestamptz)
    WHERE o.id = a.id AND o.terms_seq < a.seq
    RETURNING o.id::text
"""


def save(order: Order, seq: int) -> bool:
    """Write the terms that event `seq` gave an order; False when a later event has set them, or it was written before.

    Locks the row until the transaction ends.
    """
    return bool(fetch(SET, recordset([{"id": order.id, "seq": seq, **as_columns(order)}])))


def catch_up(amendments: Sequence[Amendment]) -> None:
    """Bring rows up to amendments whose own transaction was lost after clients could see them."""
    for order_id, seq, changed in sorted(amendments, key=lambda one: (one[0], one[1])):
        row = models.Order.objects.filter(pk=order_id, terms_seq__lt=seq).first()
        if row is not None:
            save(amended(order_of(row), changed), seq)


def amended(order: Order, changed: Mapping[str, Any]) -> Order:
    """Apply what an `amended` event says."""
    new = {name: change["to"] for name, change in changed.items()}
    fields: dict[str, Any] = {}
    if "amountIn" in new:
        fields["amount_in"] = to_units(Decimal(new["amountIn"]), order.pair.token_in)
    if "limitPrice" in new:
        fields["limit_price"] = Decimal(new["limitPrice"])
    if "maxPrice" in new:
        fields["max_price"] = Decimal(new["maxPrice"]) if new["maxPrice"] else None
    if "expiresAt" in new:
        at = new["expiresAt"]
        fields["expires_at"] = epoch_ms(datetime.fromisoformat(at)) if at else None
        fields["time_in_force"] = TimeInForce.GTD if at else TimeInForce.GTC
    return replace(order, **fields)
