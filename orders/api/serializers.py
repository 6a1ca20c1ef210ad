"""What a client may send: the documented schema of each request."""

# ruff: noqa: N815 - fields are spelled as clients send them

from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from engine.money import BadAmount, Token, to_units
from engine.orders import (
    CLIENT_ORDER_ID_MAX,
    SLIPPAGE_DEFAULT_BPS,
    SLIPPAGE_MAX_BPS,
    Order,
    OrderType,
    TimeInForce,
)
from engine.triggers import WINDOW_MAX_S
from orders.api.fields import (
    AHEAD_MAX,
    CLIENT_ID,
    CLIENT_ORDER_ID,
    CONDITIONS_MAX,
    TOKEN_SCHEMA,
    Amount,
    Flag,
    Later,
    MaxPrice,
    Price,
    Text,
    Trigger,
    Whole,
)
from orders.api.rules import BadTerm, lifetime, may_be_bought, on_the_tick, pair_of, payable
from orders.flow.intake import NewOrder
from orders.stores.ids import new_id
from routing.catalogue import Catalogue, catalogue

IDEMPOTENCY_KEY = "Idempotency-Key"

ACCEPTED = {
    "type": f"one of: {', '.join(OrderType)}",
    "tokenIn": "a token by symbol or mint",
    "tokenOut": "a token by symbol or mint, other than tokenIn",
    "amount": 'tokenIn to sell, in whole tokens: a decimal above 0 as string or number, such as "1.5"',
    "amountOut": "for market orders: the exact amount of tokenOut to buy, in whole tokens; amount is then the most "
    "that is spent",
    "slippageBps": f"a whole number from 0 to {SLIPPAGE_MAX_BPS}; {SLIPPAGE_DEFAULT_BPS} if omitted",
    "clientOrderId": f"1 to {CLIENT_ORDER_ID_MAX} letters, digits and . _ : -, unique to this order",
    "limitPrice": "for limit orders: the minimum tokenOut per tokenIn, a decimal above 0 on the pair's tick",
    "timeInForce": "for limit and sniper orders: gtc (until cancelled, the default) or gtd (until expiresAt); for "
    "limit orders also ioc (immediate or cancel)",
    "expiresAt": "for limit and sniper orders: an RFC 3339 time with a UTC offset, such as 2026-12-24T12:00:00Z, "
    f"later than now and at most {AHEAD_MAX.days} days ahead",
    "trigger": f"for sniper orders: one condition, or a list of 1 to {CONDITIONS_MAX}, each of a different kind: "
    '{"kind": "launch"}, {"kind": "liquidity", "atLeast": "50000"} or '
    '{"kind": "volume", "atLeast": "10000", "windowS": 60}; '
    f"atLeast in US dollars, above 0, with at most 2 decimals; windowS a whole number from 1 to {WINDOW_MAX_S}",
    "maxPrice": "for sniper orders: the maximum tokenIn per tokenOut, a decimal above 0 with at most 18 decimals",
    "allowUnknown": "for sniper orders: true or false, whether unknown facts pass the token checks; false if omitted",
}
AMENDABLE = ("limitPrice", "amount", "expiresAt", "maxPrice")
"""What an amendment may change."""

ORDERS_MAX = 100
"""Orders of a batch; written without line breaks, so many of the longest stay below a body's limit."""
BATCH = f"a list of 1 to {ORDERS_MAX} orders"


@extend_schema_field({"type": "string", "enum": list(OrderType)})
class OrderKind(Text):
    """A type of order."""

    def to_internal_value(self, data: Any) -> OrderType:
        """Accept a known type."""
        return word(OrderType, super().to_internal_value(data), "an order type")


@extend_schema_field({"type": "string", "enum": list(TimeInForce)})
class Lifetime(Text):
    """How long an order waits."""

    def to_internal_value(self, data: Any) -> TimeInForce:
        """Accept a known word."""
        return word(TimeInForce, super().to_internal_value(data), "a time in force")


W = TypeVar("W", OrderType, TimeInForce)


def word(words: type[W], text: str, what: str) -> W:
    """Return the word a text is.

    Raises ValidationError.
    """
    try:
        return words(text)
    except ValueError:
        raise serializers.ValidationError(f"is not {what}") from None


@extend_schema_field(TOKEN_SCHEMA)
class TokenName(Text):
    """A token, by symbol or mint."""


@extend_schema_field({"type": "string", "pattern": CLIENT_ORDER_ID})
class ClientOrderId(Text):
    """A client's own name for an order."""

    def to_internal_value(self, data: Any) -> str:
        """Accept an id that is safe in logs and URLs."""
        text = super().to_internal_value(data)
        if not CLIENT_ID.fullmatch(text):
            raise serializers.ValidationError("has a character or a length that is not allowed")
        return text


@extend_schema_serializer(component_name="NewOrder")
class ExecuteSerializer(serializers.Serializer[Any]):
    """An order to execute."""

    type = OrderKind(help_text=ACCEPTED["type"])
    tokenIn = TokenName(help_text=ACCEPTED["tokenIn"])
    tokenOut = TokenName(help_text=ACCEPTED["tokenOut"])
    amount = Amount(help_text=ACCEPTED["amount"])
    amountOut = Amount(help_text=ACCEPTED["amountOut"], required=False)
    slippageBps = Whole(
        help_text=ACCEPTED["slippageBps"],
        min_value=0,
        max_value=SLIPPAGE_MAX_BPS,
        default=SLIPPAGE_DEFAULT_BPS,
        says="must be whole basis points: 0.3 % is 30",
    )
    clientOrderId = ClientOrderId(help_text=ACCEPTED["clientOrderId"], required=False)
    limitPrice = Price(help_text=ACCEPTED["limitPrice"], required=False)
    timeInForce = Lifetime(help_text=ACCEPTED["timeInForce"], required=False)
    expiresAt = Later(help_text=ACCEPTED["expiresAt"], required=False)
    trigger = Trigger(help_text=ACCEPTED["trigger"], required=False)
    maxPrice = MaxPrice(help_text=ACCEPTED["maxPrice"], required=False)
    allowUnknown = Flag(help_text=ACCEPTED["allowUnknown"], required=False)

    @cached_property
    def known(self) -> Catalogue:
        """Read the catalogue once: an edit between two fields must not make them contradict each other."""
        return catalogue()

    def validate_tokenIn(self, value: str) -> str:  # noqa: N802 - DRF derives the name from the field's
        """Accept a token of the catalogue."""
        if value not in self.known.tokens:
            raise serializers.ValidationError("is not a token this engine trades")
        return value

    def validate_tokenOut(self, value: str) -> str:  # noqa: N802
        """Accept a token of the catalogue; for a sniper order, any mint."""
        if not may_be_bought(self.known, value, self.initial_data.get("type")):
            raise serializers.ValidationError("is not a token this engine trades")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check what fields say together, and make an order of them."""
        try:
            return {"order": new_order(self.known, attrs, self.context.get("owner"))}
        except BadTerm as reason:
            raise serializers.ValidationError({reason.field: reason.message}) from None


def new_order(known: Catalogue, good: Mapping[str, Any], owner: int | None) -> NewOrder:
    """Make a new order of this account, of fields that are right, each for itself.

    Raises BadTerm for one that does not fit the others.
    """
    kind: OrderType = good["type"]
    pair = pair_of(known, good["tokenIn"], good["tokenOut"])
    expires_at = good.get("expiresAt")
    order = Order(
        id=new_id(),
        type=kind,
        pair=pair,
        time_in_force=lifetime(good.get("timeInForce"), expires_at, kind),
        limit_price=on_the_tick(good["limitPrice"], pair) if "limitPrice" in good else None,
        amount_in=units_of(good["amount"], pair.token_in),
        amount_out=units_of(good["amountOut"], pair.token_out, "amountOut") if "amountOut" in good else None,
        slippage_bps=good.get("slippageBps", SLIPPAGE_DEFAULT_BPS),
        client_order_id=good.get("clientOrderId"),
        max_price=good.get("maxPrice"),
        expires_at=expires_at,
        trigger=good.get("trigger", ()),
        allow_unknown=good.get("allowUnknown", False),
        owner=owner,
    )
    return NewOrder(payable(order, NEEDS_PRICE.get(kind, "amount")))


def units_of(amount: Any, token: Token, field: str = "amount") -> int:
    """Turn an amount, given as this field, into base units.

    Raises BadTerm.
    """
    try:
        return to_units(amount, token)
    except BadAmount as reason:
        raise BadTerm(field, str(reason)) from None


NEEDS_PRICE = {OrderType.LIMIT: "limitPrice", OrderType.SNIPER: "maxPrice"}
"""The field that holds the price of an order of this type."""


class BatchSerializer(serializers.Serializer[Any]):
    """Orders to execute, each judged by itself."""

    orders = serializers.ListField(child=ExecuteSerializer(), min_length=1, max_length=ORDERS_MAX, help_text=BATCH)


@extend_schema_serializer(component_name="Amendment")
class AmendSerializer(serializers.Serializer[Any]):
    """What is to be changed of a resting order; at least one field."""

    limitPrice = Price(help_text=ACCEPTED["limitPrice"], required=False)
    amount = Amount(help_text=ACCEPTED["amount"], required=False)
    expiresAt = Later(help_text=f"{ACCEPTED['expiresAt']}; null removes it", required=False, allow_null=True)
    maxPrice = MaxPrice(help_text=f"{ACCEPTED['maxPrice']}; null removes it", required=False, allow_null=True)
