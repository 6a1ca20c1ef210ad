"""The order codec: encode an order for its live hash, and decode it."""

from decimal import Decimal
from typing import Any

import msgspec

from engine.money import plain
from engine.orders import Order, OrderType, TimeInForce
from engine.triggers import condition_from, level
from routing.catalogue import UnknownPair, catalogue


class Body(msgspec.Struct, rename="camel", omit_defaults=True):
    """The order as stored in its live hash; `since` to `watch_at` are for the book's scripts."""

    id: str
    type: str
    pair: str
    amount_in: str
    slippage_bps: int
    client_order_id: str | None = None
    limit_price: str | None = None
    max_price: str | None = None
    time_in_force: str = TimeInForce.GTC
    expires_at: int | None = None
    trigger: tuple[dict[str, Any], ...] = ()
    allow_unknown: bool = False
    since: int = 0
    level: int | None = None
    rest_price: str | None = None
    rest_level: int | None = None
    mint: str | None = None
    watch: str | None = None
    watch_at: int | None = None
    deadline: int | None = None
    terms_seq: int = 1
    owner: int | None = None
    amount_out: str | None = None


def dumps(order: Order, since: int = 0, rest_price: Decimal | None = None) -> str:
    """Encode the order for its hash; `rest_price` is the price at which a limit order rests, if not its limit."""
    return msgspec.json.encode(body_of(order, since, rest_price)).decode()


def body_of(order: Order, since: int, rest_price: Decimal | None) -> Body:
    """Build the body; for an order that waits, include the fields that the book's scripts need."""
    body = Body(
        id=order.id,
        type=order.type,
        pair=order.pair.name,
        amount_in=str(order.amount_in),
        slippage_bps=order.slippage_bps,
        client_order_id=order.client_order_id,
        deadline=order.deadline,
        terms_seq=order.terms_seq,
        owner=order.owner,
        amount_out=None if order.amount_out is None else str(order.amount_out),
    )
    if not order.waits:
        return body
    body.time_in_force, body.expires_at, body.since = order.time_in_force, order.expires_at, since
    if order.limit_price is not None:
        body.limit_price, body.level = plain(order.limit_price), level(order.limit_price, order.pair.tick)
    if order.max_price is not None:
        body.max_price = plain(order.max_price)
    if rest_price is not None:
        body.rest_price, body.rest_level = plain(rest_price), level(rest_price, order.pair.tick)
    if order.trigger:
        body.trigger = tuple(condition.as_dict() for condition in order.trigger)
        body.mint, first = order.pair.token_out.mint, order.trigger[0]
        body.watch, body.watch_at = first.watched, first.at_least
        body.allow_unknown = order.allow_unknown
    return body


def loads(text: str) -> Body:
    return msgspec.json.decode(text, type=Body)


def order_from(body: Body) -> Order:
    return Order(
        id=body.id,
        type=OrderType(body.type),
        pair=catalogue().pair(body.pair),
        amount_in=int(Decimal(body.amount_in)),
        slippage_bps=body.slippage_bps,
        client_order_id=body.client_order_id,
        limit_price=Decimal(body.limit_price) if body.limit_price else None,
        max_price=Decimal(body.max_price) if body.max_price else None,
        time_in_force=TimeInForce(body.time_in_force),
        expires_at=body.expires_at,
        trigger=tuple(map(condition_from, body.trigger)),
        allow_unknown=body.allow_unknown,
        deadline=body.deadline,
        terms_seq=body.terms_seq,
        owner=body.owner,
        amount_out=int(body.amount_out) if body.amount_out else None,
    )


def to_execute(body: Body) -> Order:
    """Decode an order whose token must be listed by now; reload the catalogue if it does not list the pair yet.

    Raises UnknownPair.
    """
    try:
        order = order_from(body)
        if order.pair.name in catalogue().pairs:
            return order
    except UnknownPair:
        pass
    catalogue.forget()
    order = order_from(body)
    if order.pair.name not in catalogue().pairs:
        raise UnknownPair(order.pair.name)
    return order
