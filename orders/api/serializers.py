"""What a client may send: the documented schema of each request, and the wording of every refusal."""

# ruff: noqa: N815 - fields are spelled as clients send them

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from rest_framework import serializers

from engine.money import BadAmount, to_units
from engine.orders import CLIENT_ORDER_ID_MAX, SLIPPAGE_DEFAULT_BPS, SLIPPAGE_MAX_BPS, Order, OrderType, TimeInForce
from engine.quotes import Pair
from engine.triggers import WINDOW_MAX_S
from orders import models
from orders.api.errors import FIELDS_MAX, Field, Invalid, shown
from orders.api.fields import (
    AHEAD_MAX,
    CLIENT_ID,
    CONDITIONS_MAX,
    Amount,
    ClientOrderId,
    Flag,
    Later,
    Lifetime,
    MaxPrice,
    OrderKind,
    Price,
    TokenName,
    Trigger,
    Whole,
)
from orders.api.rules import NEEDS, BadTerm, inapplicable, lifetime, may_be_bought, on_the_tick, pair_of, payable
from orders.flow import intake
from orders.flow.intake import NewOrder
from orders.stores import retired
from routing.catalogue import Catalogue, catalogue

IDEMPOTENCY_KEY = "Idempotency-Key"

ACCEPTED = {
    "type": f"one of: {', '.join(OrderType)}",
    "tokenIn": "a token by symbol or mint",
    "tokenOut": "a token by symbol or mint, other than tokenIn",
    "amount": 'tokenIn to sell, in whole tokens: a decimal above 0 as string or number, such as "1.5"',
    "slippageBps": f"a whole number from 0 to {SLIPPAGE_MAX_BPS}; {SLIPPAGE_DEFAULT_BPS} when absent",
    "clientOrderId": f"1 to {CLIENT_ORDER_ID_MAX} letters, digits and . _ : -, unique to this order",
    "limitPrice": "of a limit order: the least tokenOut per tokenIn to sell at, a decimal above 0 on the pair's tick",
    "timeInForce": "of a limit or sniper order: gtc, until it is cancelled, which is the default; gtd, until "
    "expiresAt; of a limit order: ioc, at once or not at all",
    "expiresAt": "of a limit or sniper order: an RFC 3339 time with its offset, such as 2026-12-24T12:00:00Z, "
    f"later than now and at most {AHEAD_MAX.days} days ahead",
    "trigger": f"of a sniper order: one condition, or a list of 1 to {CONDITIONS_MAX}, each of another kind: "
    '{"kind": "launch"}, {"kind": "liquidity", "atLeast": "50000"} or '
    '{"kind": "volume", "atLeast": "10000", "windowS": 60}; '
    f"atLeast in US dollars, above 0, with at most 2 decimals; windowS a whole number from 1 to {WINDOW_MAX_S}",
    "maxPrice": "of a sniper order: the most tokenIn that one tokenOut may cost, a decimal above 0 with at most 18 "
    "decimals",
    "allowUnknown": "of a sniper order: true or false, whether what is not known of the token may pass; false when "
    "absent",
}
AMENDABLE = ("limitPrice", "amount", "expiresAt", "maxPrice")
"""What an amendment may change."""

ORDERS_MAX = 100
"""Orders of a batch; written without line breaks, so many of the longest stay below a body's limit."""
BATCH = f"a list of 1 to {ORDERS_MAX} orders"


class ExecuteSerializer(serializers.Serializer[Any]):
    """An order to execute."""

    type = OrderKind(help_text=ACCEPTED["type"])
    tokenIn = TokenName(help_text=ACCEPTED["tokenIn"])
    tokenOut = TokenName(help_text=ACCEPTED["tokenOut"])
    amount = Amount(help_text=ACCEPTED["amount"])
    slippageBps = Whole(
        help_text=ACCEPTED["slippageBps"], min_value=0, max_value=SLIPPAGE_MAX_BPS, default=SLIPPAGE_DEFAULT_BPS
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

    def validate_type(self, value: str) -> str:
        """Accept a known type."""
        if value not in list(OrderType):
            raise serializers.ValidationError("is not an order type")
        return value

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

    def validate_clientOrderId(self, value: str) -> str:  # noqa: N802
        """Accept an id that is safe in logs and URLs."""
        if not CLIENT_ID.fullmatch(value):
            raise serializers.ValidationError("has a character or a length that is not allowed")
        return value

    def validate_timeInForce(self, value: str) -> TimeInForce:  # noqa: N802
        """Accept a known word."""
        if value not in list(TimeInForce):
            raise serializers.ValidationError("is not a time in force")
        return TimeInForce(value)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check what fields say together, and make an order of them."""
        try:
            return {"order": new_order(self.known, attrs)}
        except BadTerm as reason:
            raise serializers.ValidationError({reason.field: reason.message}) from None


def new_order(known: Catalogue, good: Mapping[str, Any]) -> NewOrder:
    """Make a new order of fields that are right, each for itself.

    Raises BadTerm for one that does not fit the others.
    """
    kind = OrderType(good["type"])
    pair = pair_of(known, good["tokenIn"], good["tokenOut"])
    expires_at = good.get("expiresAt")
    terms: dict[str, Any] = {
        "max_price": good.get("maxPrice"),
        "time_in_force": lifetime(good.get("timeInForce"), expires_at, kind),
        "expires_at": expires_at,
        "trigger": good.get("trigger", ()),
        "allow_unknown": good.get("allowUnknown", False),
    }
    if "limitPrice" in good:
        terms["limit_price"] = on_the_tick(good["limitPrice"], pair)
    units = units_of(good["amount"], pair)
    return order_from(kind, pair, units, good["slippageBps"], good.get("clientOrderId"), **terms)


def units_of(amount: Any, pair: Pair) -> int:
    """Turn the amount to sell into base units.

    Raises BadTerm.
    """
    try:
        return to_units(amount, pair.token_in)
    except BadAmount as reason:
        raise BadTerm("amount", str(reason)) from None


def order_from(
    kind: OrderType, pair: Pair, units: int, slippage_bps: int, client_order_id: str | None, **terms: Any
) -> NewOrder:
    """Make a new order of checked values; `terms` are the engine's names of what a waiting order has beside them.

    Raises BadTerm.
    """
    order = Order(intake.new_id(), kind, pair, units, slippage_bps, client_order_id, **terms)
    return NewOrder(payable(order, NEEDS_PRICE.get(kind, "amount")))


NEEDS_PRICE = {OrderType.LIMIT: "limitPrice", OrderType.SNIPER: "maxPrice"}
"""The field that holds the price of an order of this type."""


def parse(data: Any, idempotency_key: str | None = None) -> NewOrder:
    """Turn decoded JSON into an order.

    Raises Invalid, naming each field that is wrong, its value and what is accepted.
    """
    if not isinstance(data, Mapping):
        raise Invalid("the body must be a JSON object")
    asked = with_key(data, idempotency_key)
    serializer = ExecuteSerializer(data=asked)
    errors = unfit(asked)
    if not serializer.is_valid():
        errors = {**serializer.errors, **errors}
    order: NewOrder | None = again(asked, serializer.errors) if errors else serializer.validated_data["order"]
    if order is None:
        raise refusal(errors, asked, by_header="clientOrderId" in asked.keys() - data.keys())
    return order


def again(asked: Mapping[str, Any], errors: Mapping[str, Any]) -> NewOrder | None:
    """Return an order that is only late, if it stands already: it is sent again, however long after."""
    codes = {name: [one.code for one in told] for name, told in errors.items() if isinstance(told, list)}
    if codes != {"expiresAt": ["late"]} or "clientOrderId" not in asked or unfit(asked):
        return None
    serializer = ExecuteSerializer(data=asked, context={"late": True})
    if not serializer.is_valid():
        return None
    order: NewOrder = serializer.validated_data["order"]
    rows = models.Order.objects.filter(client_order_id=asked["clientOrderId"], fingerprint=order.fingerprint)
    there = rows.exists() or retired.is_known(asked["clientOrderId"], order.fingerprint)
    return order if there else None


def unfit(asked: Mapping[str, Any]) -> dict[str, list[str]]:
    """Tell, by the type of an order alone, which fields it cannot have and which it lacks."""
    errors = {name: ["is not a field of an order"] for name in sorted(set(asked) - set(ACCEPTED))}
    if (kind := asked.get("type")) in list(OrderType):
        wrong = ((name, inapplicable(name, OrderType(kind))) for name in asked)
        errors |= {name: [message] for name, message in wrong if message}
        if (needed := NEEDS.get(OrderType(kind), "type")) not in asked:
            errors[needed] = [f"is missing: a {kind} order needs it"]
    return errors


class BatchSerializer(serializers.Serializer[Any]):
    """Orders to execute, each judged by itself."""

    orders = serializers.ListField(child=ExecuteSerializer(), min_length=1, max_length=ORDERS_MAX, help_text=BATCH)


class AmendSerializer(serializers.Serializer[Any]):
    """What is to be changed of a resting order; at least one field."""

    limitPrice = Price(help_text=ACCEPTED["limitPrice"], required=False)
    amount = Amount(help_text=ACCEPTED["amount"], required=False)
    expiresAt = Later(help_text=f"{ACCEPTED['expiresAt']}; null: no longer", required=False, allow_null=True)
    maxPrice = MaxPrice(help_text=f"{ACCEPTED['maxPrice']}; null: no longer", required=False, allow_null=True)


def amendment(order: Order, data: Any) -> dict[str, Any]:
    """Turn decoded JSON into what is to be changed of an order, by the engine's names.

    Raises Invalid, naming each field that is wrong, its value and what is accepted.
    """
    if not isinstance(data, Mapping) or not data:
        raise Invalid(f"the body must be a JSON object with at least one of: {', '.join(AMENDABLE)}")
    serializer = AmendSerializer(data=data)
    errors = unamendable(order.type, data)
    if not serializer.is_valid():
        errors = {**serializer.errors, **errors}
    if not errors:
        try:
            return changes(order, serializer.validated_data)
        except BadTerm as reason:
            errors = {reason.field: [reason.message]}
    raise refusal(errors, data, AMENDABLE)


def unamendable(kind: OrderType, data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Tell which fields an amendment of an order of this type cannot have."""
    errors = {}
    for name in data:
        if name not in ACCEPTED:
            errors[name] = ["is not a field of an order"]
        elif message := inapplicable(name, kind):
            errors[name] = [message]
        elif name not in AMENDABLE:
            errors[name] = ["cannot be amended"]
    return errors


def changes(order: Order, good: Mapping[str, Any]) -> dict[str, Any]:
    """Turn fields that are right, each for itself, into changes that fit the order.

    Raises BadTerm.
    """
    found: dict[str, Any] = {}
    if "amount" in good:
        found["amount_in"] = units_of(good["amount"], order.pair)
    if "limitPrice" in good:
        found["limit_price"] = on_the_tick(good["limitPrice"], order.pair)
    if "maxPrice" in good:
        found["max_price"] = good["maxPrice"]
    if "expiresAt" in good:
        found["expires_at"] = good["expiresAt"]
        found["time_in_force"] = lifetime(None, good["expiresAt"], order.type)
    payable(replace(order, **found), next(name for name in ("limitPrice", "maxPrice", *good) if name in good))
    return found


def with_key(data: Mapping[str, Any], idempotency_key: str | None) -> dict[str, Any]:
    """Let the Idempotency-Key header stand for clientOrderId.

    Raises Invalid when both are given and differ.
    """
    if idempotency_key is None:
        return dict(data)
    if data.get("clientOrderId", idempotency_key) != idempotency_key:
        message = "differs from clientOrderId"
        wrong = Field(IDEMPOTENCY_KEY, shown(idempotency_key), message, "either, or both alike")
        raise Invalid(f"{IDEMPOTENCY_KEY} {message}", [wrong])
    return {**data, "clientOrderId": idempotency_key}


def refusal(
    errors: Mapping[str, Any],
    data: Mapping[str, Any],
    only: Collection[str] = tuple(ACCEPTED),
    *,
    by_header: bool = False,
) -> Invalid:
    """Word a serializer's errors in the one error shape; an id that came as the header is the header's mistake.

    `only` are the fields there could have been.
    """
    called = {"clientOrderId": IDEMPOTENCY_KEY} if by_header else {}
    fields = [
        Field(shown(called.get(name, name)) or "", shown(data.get(name)), str(told[0]), accepted(name, data, only))
        for name, told in list(errors.items())[:FIELDS_MAX]
    ]
    return Invalid("; ".join(f"{field.field} {field.message}" for field in fields), fields)


def accepted(name: str, data: Mapping[str, Any], only: Collection[str]) -> str:
    """Say what a field accepts; for tokens, name them."""
    known = ACCEPTED[name] if name in only else f"only {', '.join(only)}"
    if name == "tokenOut" and (bought := buyable(catalogue(), data.get("tokenIn"))):
        return f"{known}; with {data['tokenIn']}: {', '.join(bought)}"
    return f"{known}; symbols: {', '.join(catalogue().symbols())}" if name in ("tokenIn", "tokenOut") else known


def buyable(known: Catalogue, token_in: Any) -> list[str]:
    """Name the tokens that can be bought with this one; none when it is no token."""
    sold = known.tokens.get(token_in) if isinstance(token_in, str) else None
    return sorted(pair.token_out.symbol for pair in known.active.values() if pair.token_in == sold)
