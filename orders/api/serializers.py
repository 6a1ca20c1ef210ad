"""What a client may send, and what it reads: the documented schema, and the wording of every refusal."""

# ruff: noqa: N815 - fields are spelled as clients send and read them

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from engine.lifecycle import Status
from engine.money import BadAmount, to_units
from engine.orders import CLIENT_ORDER_ID_MAX, SLIPPAGE_DEFAULT_BPS, SLIPPAGE_MAX_BPS, Order, OrderType
from engine.quotes import Pair
from orders import intake
from orders.api.errors import FIELDS_MAX, Field, Invalid, shown
from orders.intake import NewOrder
from routing.catalogue import Catalogue, catalogue

STATUSES = [(status.value, status.value) for status in Status]
NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)
CLIENT_ID = re.compile(rf"[A-Za-z0-9._:\-]{{1,{CLIENT_ORDER_ID_MAX}}}")
IDEMPOTENCY_KEY = "Idempotency-Key"

ACCEPTED = {
    "type": "one of: market",
    "tokenIn": "a token by symbol or mint",
    "tokenOut": "a token by symbol or mint, other than tokenIn",
    "amount": 'tokenIn to sell, in whole tokens: a decimal above 0 as string or number, such as "1.5"',
    "slippageBps": f"a whole number from 0 to {SLIPPAGE_MAX_BPS}; {SLIPPAGE_DEFAULT_BPS} when absent",
    "clientOrderId": f"1 to {CLIENT_ORDER_ID_MAX} letters, digits and . _ : -, unique to this order",
}

WORDING: dict[str, Any] = {
    "required": "is missing",
    "null": "is null",
    "blank": "is empty",
    "min_value": "must be at least {min_value}",
    "max_value": "must be at most {max_value}",
}
"""What DRF says in sentences of its own, worded to read on after a field's name."""


class Text(serializers.CharField):
    """A JSON string; numbers and booleans are not taken for one."""

    default_error_messages = WORDING

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)
        # DRF's are for characters that no token, type or id has; those refuse them in the house's words.
        self.validators = []

    def to_internal_value(self, data: Any) -> str:
        """Accept a string only."""
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string")
        return data


class Whole(serializers.IntegerField):
    """A JSON whole number; strings and booleans are not taken for one."""

    default_error_messages = WORDING

    def to_internal_value(self, data: Any) -> int:
        """Accept a whole number only."""
        if not isinstance(data, int) or isinstance(data, bool):
            raise serializers.ValidationError("must be a whole number")
        return data


@extend_schema_field({"oneOf": [{"type": "string", "format": "decimal"}, {"type": "number"}], "examples": ["1.5"]})
class Amount(serializers.DecimalField):
    """A decimal as JSON string or number, of any precision; the token decides how many decimals it may have."""

    default_error_messages = WORDING

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=None, decimal_places=None, **options)

    def to_internal_value(self, data: Any) -> Decimal:
        """Accept a decimal above 0, written out; no infinities, underscores or spaces."""
        if data == "":
            self.fail("blank")
        if isinstance(data, bool) or not isinstance(data, (str, int, Decimal)):
            raise serializers.ValidationError("must be a decimal as string or number")
        text = str(data)
        if not NUMBER.fullmatch(text):
            raise serializers.ValidationError("is not a decimal number")
        amount = Decimal(text)
        # Here as well as in `to_units`, which is asked only once every other field is right.
        if amount <= 0:
            raise serializers.ValidationError("must be greater than zero")
        return amount


class ExecuteSerializer(serializers.Serializer[Any]):
    """An order to execute."""

    type = Text(help_text=ACCEPTED["type"])
    tokenIn = Text(help_text=ACCEPTED["tokenIn"])
    tokenOut = Text(help_text=ACCEPTED["tokenOut"])
    amount = Amount(help_text=ACCEPTED["amount"])
    slippageBps = Whole(
        help_text=ACCEPTED["slippageBps"], min_value=0, max_value=SLIPPAGE_MAX_BPS, default=SLIPPAGE_DEFAULT_BPS
    )
    clientOrderId = Text(help_text=ACCEPTED["clientOrderId"], required=False)

    @cached_property
    def known(self) -> Catalogue:
        """Read the catalogue once: an edit between two fields must not make them contradict each other."""
        return catalogue()

    def known_token(self, value: str) -> str:
        """Pass a token of the catalogue."""
        if value not in self.known.tokens:
            raise serializers.ValidationError("is not a token this engine trades")
        return value

    def validate_type(self, value: str) -> str:
        """Accept a known type."""
        if value not in list(OrderType):
            raise serializers.ValidationError("is not an order type")
        return value

    def validate_tokenIn(self, value: str) -> str:  # noqa: N802 - DRF derives the name from the field's
        """Accept a known token."""
        return self.known_token(value)

    def validate_tokenOut(self, value: str) -> str:  # noqa: N802
        """Accept a known token."""
        return self.known_token(value)

    def validate_clientOrderId(self, value: str) -> str:  # noqa: N802
        """Accept an id that is safe in logs and URLs."""
        if not CLIENT_ID.fullmatch(value):
            raise serializers.ValidationError("has a character or a length that is not allowed")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check what fields say together: the pair is traded, the amount fits the token."""
        pair = traded(self.known, attrs["tokenIn"], attrs["tokenOut"])
        if isinstance(pair, str):
            raise serializers.ValidationError({"tokenOut": pair})
        try:
            units = to_units(attrs["amount"], pair.token_in)
        except BadAmount as reason:
            raise serializers.ValidationError({"amount": str(reason)}) from None
        return {**attrs, "pair": pair, "units": units}


def traded(known: Catalogue, token_in: str, token_out: str) -> Pair | str:
    """Return the active pair of two known tokens, or what is wrong with it."""
    sold, bought = known.tokens[token_in], known.tokens[token_out]
    if sold == bought:
        return "is the same token as tokenIn"
    name = f"{sold.symbol}-{bought.symbol}"
    return known.active.get(name) or f"cannot be bought with {sold.symbol}: {name} is not a traded pair"


def parse(data: Any, idempotency_key: str | None = None) -> NewOrder:
    """Turn decoded JSON into an order.

    Raises Invalid, naming each field that is wrong, its value and what is accepted.
    """
    if not isinstance(data, Mapping):
        raise Invalid("the body must be a JSON object")
    asked = with_key(data, idempotency_key)
    serializer = ExecuteSerializer(data=asked)
    errors = {name: ["is not a field of an order"] for name in sorted(set(asked) - set(serializer.fields))}
    if not serializer.is_valid():
        errors = {**serializer.errors, **errors}
    if errors:
        raise refusal(errors, asked, by_header="clientOrderId" in asked.keys() - data.keys())
    good = serializer.validated_data
    return order_from(good["type"], good["pair"], good["units"], good["slippageBps"], good.get("clientOrderId"))


def order_from(kind: str, pair: Pair, units: int, slippage_bps: int, client_order_id: str | None) -> NewOrder:
    """Make a new order of checked values."""
    return NewOrder(Order(intake.new_id(), OrderType(kind), pair, units, slippage_bps, client_order_id))


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


def refusal(errors: Mapping[str, Any], data: Mapping[str, Any], *, by_header: bool) -> Invalid:
    """Word a serializer's errors in the one error shape; an id that came as the header is the header's mistake."""
    called = {"clientOrderId": IDEMPOTENCY_KEY} if by_header else {}
    fields = [
        Field(shown(called.get(name, name)) or "", shown(data.get(name)), str(told[0]), accepted(name, data))
        for name, told in list(errors.items())[:FIELDS_MAX]
    ]
    return Invalid("; ".join(f"{field.field} {field.message}" for field in fields), fields)


def accepted(name: str, data: Mapping[str, Any]) -> str:
    """Say what a field accepts; for tokens, name them."""
    known = ACCEPTED.get(name, f"only {', '.join(ACCEPTED)}")
    if name == "tokenOut" and (bought := buyable(catalogue(), data.get("tokenIn"))):
        return f"{known}; with {data['tokenIn']}: {', '.join(bought)}"
    return f"{known}; symbols: {', '.join(catalogue().symbols())}" if name in ("tokenIn", "tokenOut") else known


def buyable(known: Catalogue, token_in: Any) -> list[str]:
    """Name the tokens that can be bought with this one; none when it is no token."""
    sold = known.tokens.get(token_in) if isinstance(token_in, str) else None
    return sorted(pair.token_out.symbol for pair in known.active.values() if pair.token_in == sold)


class LinksSerializer(serializers.Serializer[Any]):
    """Where to go on from here."""

    self = serializers.URLField()
    events = serializers.URLField()
    ws = serializers.CharField(help_text="WebSocket that streams the order's events from the first.")


class AcceptedSerializer(serializers.Serializer[Any]):
    """An accepted order."""

    orderId = serializers.UUIDField()
    status = serializers.ChoiceField(choices=STATUSES)
    createdAt = serializers.DateTimeField()
    links = LinksSerializer()


class FieldErrorSerializer(serializers.Serializer[Any]):
    """What is wrong with one field."""

    field = serializers.CharField()
    value = serializers.CharField(allow_null=True)
    message = serializers.CharField()
    accepted = serializers.CharField()


class ErrorBodySerializer(serializers.Serializer[Any]):
    """What went wrong."""

    code = serializers.CharField()
    message = serializers.CharField()
    fields = FieldErrorSerializer(many=True)  # type: ignore[assignment]


class ErrorSerializer(serializers.Serializer[Any]):
    """Every error of this API."""

    error = ErrorBodySerializer()


class EventSerializer(serializers.Serializer[Any]):
    """One event; more facts follow by status, as the examples show."""

    orderId = serializers.UUIDField()
    seq = serializers.IntegerField(min_value=1, help_text="1, 2, 3 ... without gaps.")
    status = serializers.ChoiceField(choices=STATUSES)
    at = serializers.DateTimeField()
    attempt = serializers.IntegerField(min_value=0)


class EventsSerializer(serializers.Serializer[Any]):
    """An order's events, oldest first."""

    orderId = serializers.UUIDField()
    events = EventSerializer(many=True)


class OrderSerializer(serializers.Serializer[Any]):
    """An order as it stands."""

    orderId = serializers.UUIDField()
    clientOrderId = serializers.CharField(allow_null=True)
    type = serializers.CharField()
    pair = serializers.CharField()
    tokenIn = serializers.CharField()
    tokenOut = serializers.CharField()
    amount = serializers.CharField()
    slippageBps = serializers.IntegerField()
    status = serializers.ChoiceField(choices=STATUSES)
    seq = serializers.IntegerField()
    attempt = serializers.IntegerField()
    createdAt = serializers.DateTimeField()
    updatedAt = serializers.DateTimeField()
    venue = serializers.CharField(allow_null=True)
    txHash = serializers.CharField(allow_null=True)
    result = serializers.DictField(help_text="Facts of the last event.")
    replayOf = serializers.UUIDField(allow_null=True)
    links = LinksSerializer()


class OrdersSerializer(serializers.Serializer[Any]):
    """A page of orders, newest first."""

    next = serializers.URLField(allow_null=True, help_text="The page after this one; null on the last.")
    previous = serializers.URLField(allow_null=True)
    results = OrderSerializer(many=True)


class QuoteSerializer(serializers.Serializer[Any]):
    """A venue's last quote."""

    venue = serializers.CharField()
    price = serializers.CharField()
    feeBps = serializers.IntegerField()
    netPrice = serializers.CharField()
    observedAt = serializers.DateTimeField()
    ageMs = serializers.IntegerField()


class QuotesSerializer(serializers.Serializer[Any]):
    """What is known of a pair."""

    pair = serializers.CharField()
    best = QuoteSerializer(allow_null=True)
    fresh = serializers.BooleanField(help_text="Whether BEST is young enough to route on.")
    quotes = QuoteSerializer(many=True)


class TokenSerializer(serializers.Serializer[Any]):
    """A token."""

    symbol = serializers.CharField()
    mint = serializers.CharField()
    decimals = serializers.IntegerField()


class PairSerializer(serializers.Serializer[Any]):
    """A pair that is traded, in this direction."""

    pair = serializers.CharField()
    tokenIn = TokenSerializer()
    tokenOut = TokenSerializer()


class HealthSerializer(serializers.Serializer[Any]):
    """The process lives."""

    status = serializers.CharField()


class PartsSerializer(serializers.Serializer[Any]):
    """ "ok", or why a part does not answer."""

    postgres = serializers.CharField()
    redis = serializers.CharField()


class ReadySerializer(serializers.Serializer[Any]):
    """The process can do its work."""

    status = serializers.CharField()
    parts = PartsSerializer()


class NotReadySerializer(serializers.Serializer[Any]):
    """A part is away; the error names it."""

    error = ErrorBodySerializer()
    parts = PartsSerializer()
