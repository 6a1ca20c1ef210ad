"""Orders as a client asks for them, and how the API takes them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from .reading import camel
from .words import Kind, OrderType, TimeInForce

Number = Decimal | int | str
"""An amount or a price; a text is sent as it is, and the engine judges it.  Never a float."""
Time = datetime | str
"""With its offset; a text is sent as it is."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a sniper order waits for."""

    kind: Kind
    at_least: Number | None = None
    window_s: int | None = None


def launch() -> Condition:
    """Wait for the token's first pool."""
    return Condition(Kind.LAUNCH)


def liquidity(at_least: Number) -> Condition:
    """Wait until the token's pools are worth this, in US dollars."""
    return Condition(Kind.LIQUIDITY, at_least)


def volume(at_least: Number, window_s: int) -> Condition:
    """Wait until this was traded of the token within so many seconds, in US dollars."""
    return Condition(Kind.VOLUME, at_least, window_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """What every type of order has; `amount` in whole tokens of `token_in`."""

    type: ClassVar[OrderType]
    token_in: str
    token_out: str
    amount: Number
    slippage_bps: int | None = None
    client_order_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketOrder(NewOrder):
    """Executed at once, at the best price there is.

    With `amount_out` it buys exactly that, in whole tokens of `token_out`; `amount` is then the most that it may spend.
    """

    type: ClassVar[OrderType] = OrderType.MARKET
    amount_out: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOrder(NewOrder):
    """Executed once the price, in tokens out per token in, is at `limit_price` or better."""

    type: ClassVar[OrderType] = OrderType.LIMIT
    limit_price: Number
    time_in_force: TimeInForce | str | None = None
    expires_at: Time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SniperOrder(NewOrder):
    """Executed once every condition holds and the token passes the checks."""

    type: ClassVar[OrderType] = OrderType.SNIPER
    trigger: Condition | tuple[Condition, ...]
    max_price: Number | None = None
    time_in_force: TimeInForce | str | None = None
    expires_at: Time | None = None
    allow_unknown: bool | None = None


def body(order: NewOrder) -> dict[str, Any]:
    """Write an order as the API takes it; what was not given is left to the engine."""
    return {"type": str(order.type), **stated(order)}


def stated(asked: Any) -> dict[str, Any]:
    """Write what is given of a dataclass, by the API's names."""
    given = ((camel(one.name), getattr(asked, one.name)) for one in fields(asked))
    return {name: written(value) for name, value in given if value is not None}


def written(value: Any) -> Any:
    """Write a value as JSON has it: exact, so a decimal as text.

    Raises TypeError for a float, whose digits are not those that were meant, and for a time without its offset.
    """
    match value:
        case float():
            raise TypeError(f"{value!r} is a float; write it as Decimal('{value}') or '{value}'")
        case Decimal():
            return format(value, "f")
        case datetime():
            return timed(value)
        case Condition():
            return stated(value)
        case tuple():
            return [written(one) for one in value]
        case str():
            return str(value)
    return value


def timed(at: datetime) -> str:
    """Write a time.

    Raises TypeError when it has no offset.
    """
    if at.tzinfo is None:
        raise TypeError(f"{at!r} has no offset; give it one, such as datetime.now(UTC)")
    return at.isoformat()


class Keep:
    """Marks a term that an amendment leaves as it is; None removes one."""


KEEP = Keep()


def changes(**asked: Any) -> Mapping[str, Any]:
    """Write an amendment: what is to change, and null for what is to go."""
    return {camel(name): written(value) for name, value in asked.items() if value is not KEEP}
