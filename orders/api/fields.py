"""One JSON value each: what a client may send for a field, and the wording when it is something else."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from engine.money import MATHS, plain
from engine.orders import CLIENT_ORDER_ID_MAX
from engine.triggers import WINDOW_MAX_S, Condition, Kind, cents
from orders.api.errors import shown
from orders.stores.terms import epoch_ms
from routing.models import MINT_MAX
from routing.store import now_ms

NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)
TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
"""RFC 3339 with at most nanoseconds, as a pattern that Python and JavaScript read alike."""
RFC_3339 = re.compile(TIME.replace("$", r"\Z"))

PRICE_MAX = Decimal("1e20")
"""No price reaches this; with PRICE_STEP it fits the column that keeps it."""
PRICE_STEP = Decimal("1e-18")
AHEAD_MAX = timedelta(days=366)
"""How far ahead an order may expire."""
CONDITIONS_MAX = 3
USD_MAX = Decimal("1e12")
USD_STEP = Decimal("0.01")

CLIENT_ORDER_ID = rf"^[A-Za-z0-9._:\-]{{1,{CLIENT_ORDER_ID_MAX}}}$"
CLIENT_ID = re.compile(CLIENT_ORDER_ID.replace("$", r"\Z"))
TOKEN_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MINT_MAX}

WHOLE_DIGITS = 20

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
    """A JSON whole number, which 50.0 is as well; strings and booleans are not taken for one."""

    default_error_messages = WORDING

    def __init__(self, *, says: str = "must be a whole number", **options: Any) -> None:
        super().__init__(**options)
        self.says = says

    def to_internal_value(self, data: Any) -> int:
        """Accept a whole number only."""
        if isinstance(data, bool) or not isinstance(data, int | Decimal):
            raise serializers.ValidationError(self.says)
        # The size first: 1e999999999 would take for ever to write out.
        if isinstance(data, Decimal) and (data.adjusted() > WHOLE_DIGITS or data != data.to_integral_value()):
            raise serializers.ValidationError(self.says)
        whole = int(data)
        if self.min_value is not None and whole < self.min_value:
            self.fail("min_value", min_value=self.min_value)
        if self.max_value is not None and whole > self.max_value:
            self.fail("max_value", max_value=self.max_value)
        return whole


class Flag(serializers.BooleanField):
    """A JSON boolean; "true" and 1 are not taken for one."""

    default_error_messages = WORDING

    def to_internal_value(self, data: Any) -> bool:
        """Accept true or false only."""
        if not isinstance(data, bool):
            raise serializers.ValidationError("must be true or false")
        return data


ABOVE_ZERO = r"^\+?(?=[0.]*[1-9])[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?$"
DECIMAL = {"type": ["string", "number"], "pattern": ABOVE_ZERO, "exclusiveMinimum": 0, "examples": ["1.5"]}
"""A decimal above 0: of a string only the pattern holds, of a number only the bound."""


@extend_schema_field(DECIMAL)
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


class Price(Amount):
    """A price; the pair's tick decides how many decimals it may have."""

    def to_internal_value(self, data: Any) -> Decimal:
        """Accept a decimal above 0 and below PRICE_MAX."""
        price = super().to_internal_value(data)
        if price >= PRICE_MAX:
            raise serializers.ValidationError(f"must be less than {plain(PRICE_MAX)}")
        return price


class MaxPrice(Price):
    """A price on no tick, with at most 18 decimals."""

    def to_internal_value(self, data: Any) -> Decimal:
        """Accept a price of which nothing is lost in its column; return it without trailing zeros."""
        return whole_steps(super().to_internal_value(data), PRICE_STEP)


class Dollars(Amount):
    """An amount of US dollars, with at most 2 decimals."""

    def to_internal_value(self, data: Any) -> Decimal:
        """Accept up to USD_MAX."""
        amount = super().to_internal_value(data)
        if amount > USD_MAX:
            raise serializers.ValidationError(f"must be at most {plain(USD_MAX)}")
        return whole_steps(amount, USD_STEP)


def whole_steps(value: Decimal, step: Decimal) -> Decimal:
    """Pass a decimal without digits below a step, and without trailing zeros.

    Raises ValidationError.
    """
    # Bounded above by its caller, so it fits; the exponent below may be anything.
    if MATHS.quantize(value, step) != value:
        raise serializers.ValidationError(f"must have at most {-step.adjusted()} decimals")
    return MATHS.normalize(value)


@extend_schema_field({"type": "string", "format": "date-time", "pattern": TIME, "examples": ["2026-12-24T12:00:00Z"]})
class Later(serializers.Field[int, Any, str, Any]):
    """A time still to come, as RFC 3339 with its offset; becomes epoch milliseconds."""

    default_error_messages = {**WORDING, "late": "must be later than now"}

    def to_internal_value(self, data: Any) -> int:
        """Accept a time within AHEAD_MAX from now, by the store's clock; a past one if the context says `late`."""
        ahead_ms = (at := instant(data)) - now_ms()
        if ahead_ms <= 0 and not self.context.get("late"):
            self.fail("late")
        if ahead_ms > AHEAD_MAX // timedelta(milliseconds=1):
            raise serializers.ValidationError(f"must be at most {AHEAD_MAX.days} days ahead")
        return at


def instant(data: Any) -> int:
    """Read a time as epoch milliseconds.

    Raises ValidationError.
    """
    if not isinstance(data, str):
        raise serializers.ValidationError("must be a string")
    try:
        if RFC_3339.fullmatch(data):
            return epoch_ms(datetime.fromisoformat(data.upper()))
    except ValueError:
        pass
    raise serializers.ValidationError("is not an RFC 3339 time with a UTC offset")


OPERANDS: dict[Kind, dict[str, serializers.Field[Any, Any, Any, Any]]] = {
    Kind.LAUNCH: {},
    Kind.LIQUIDITY: {"atLeast": Dollars()},
    Kind.VOLUME: {"atLeast": Dollars(), "windowS": Whole(min_value=1, max_value=WINDOW_MAX_S)},
}
"""What each kind of condition needs beside its kind."""

USD_SCHEMA = {
    **DECIMAL,
    "maximum": int(USD_MAX),
    "description": f"US dollars, at most {plain(USD_MAX)}, at most 2 decimals.",
    "examples": ["50000"],
}
WINDOW_SCHEMA = {"type": "integer", "minimum": 1, "maximum": WINDOW_MAX_S}
CONDITION_SCHEMAS: dict[str, dict[str, Any]] = {
    f"{kind.capitalize()}Condition": {
        "type": "object",
        "required": ["kind", *operands],
        "properties": {"kind": {"type": "string", "const": kind.value}}
        | {name: USD_SCHEMA if name == "atLeast" else WINDOW_SCHEMA for name in operands},
        "additionalProperties": False,
    }
    for kind, operands in OPERANDS.items()
}
"""Every kind of condition, by its name in the API's description."""
CONDITION_SCHEMA = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in CONDITION_SCHEMAS]}
LIST_SCHEMA = {"type": "array", "items": CONDITION_SCHEMA, "minItems": 1, "maxItems": CONDITIONS_MAX}


@extend_schema_field({"oneOf": [*CONDITION_SCHEMA["oneOf"], LIST_SCHEMA]})
class Trigger(serializers.Field[tuple[Condition, ...], Any, Any, Any]):
    """The conditions of a sniper order: one, or a list of which all must hold."""

    default_error_messages = WORDING

    def to_internal_value(self, data: Any) -> tuple[Condition, ...]:
        """Accept 1 to CONDITIONS_MAX conditions, no two of a kind."""
        given = data if isinstance(data, list) else [data]
        if not 1 <= len(given) <= CONDITIONS_MAX:
            raise serializers.ValidationError(f"must be one condition, or a list of 1 to {CONDITIONS_MAX}")
        conditions = tuple(map(condition, given))
        if len({one.kind for one in conditions}) < len(conditions):
            raise serializers.ValidationError("names one kind twice")
        return conditions


def condition(given: Any) -> Condition:
    """Read one condition.

    Raises ValidationError.
    """
    if not isinstance(given, Mapping):
        raise serializers.ValidationError("must be a condition: an object with a kind")
    kind = given.get("kind")
    if not (isinstance(kind, str) and kind in list(Kind)):
        raise serializers.ValidationError(f"must have one of the kinds {', '.join(Kind)}")
    operands = OPERANDS[Kind(kind)]
    if unknown := sorted(given.keys() - operands - {"kind"}):
        raise serializers.ValidationError(f"of kind {kind} has no {shown(unknown[0])}")
    values = {name: operand(name, field, given, kind) for name, field in operands.items()}
    return Condition(Kind(kind), cents(plain(values.get("atLeast", Decimal(0)))), values.get("windowS", 0) * 1000)


def operand(name: str, field: serializers.Field[Any, Any, Any, Any], given: Mapping[str, Any], kind: str) -> Any:
    """Read one operand of a condition.

    Raises ValidationError, naming it.
    """
    try:
        return field.run_validation(given.get(name, serializers.empty))
    except serializers.ValidationError as reason:
        (told, *_) = reason.detail
        raise serializers.ValidationError(f"of kind {kind}: {name} {told}") from None
