"""JSON as this API reads it: decimals exact, and no input that can do worse than a 400."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import IO, Any

from rest_framework.parsers import BaseParser

from orders.api.errors import Invalid

BODY_MAX = 64 * 1024
"""Bytes of a request body."""
DEPTH_MAX = 16
"""Objects and arrays within one another; an order needs one.  Whatever walks the answer later recurses as deep."""
DIGITS_MAX = 100
"""Digits of a whole number."""


class StrictJSONParser(BaseParser):
    """Parses application/json with `loads`."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: Any = None, parser_context: Any = None) -> Any:
        """Read the whole body.

        Raises Invalid.
        """
        return loads(stream.read(BODY_MAX + 1))


class Unread(BaseParser):
    """Passes application/json on as it came, for `orders.api.decoder`."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: Any = None, parser_context: Any = None) -> Any:
        """Read the whole body."""
        return stream.read(BODY_MAX + 1)


def loads(text: bytes | str) -> Any:
    """Read JSON: numbers with a point as Decimal, no NaN, no repeated names.

    Raises Invalid for anything that is not JSON in UTF-8, is nested too deeply, or is too large.
    """
    try:
        if len(text if isinstance(text, bytes) else text.encode()) > BODY_MAX:
            raise Invalid(f"the body is larger than {BODY_MAX} bytes", code="too_large")
        written = text if isinstance(text, str) else text.decode()
        found = DECODER.decode(written)
    except RecursionError:
        raise too_deep() from None
    except ValueError as reason:
        raise Invalid(f"the body is not JSON: {str(reason)[:200]}", code="not_json") from None
    # Counting brackets is much cheaper, and enough for an order.
    if written.count("{") + written.count("[") > DEPTH_MAX and depth(found) > DEPTH_MAX:
        raise too_deep()
    return found


def too_deep() -> Invalid:
    """Say that nesting has a limit."""
    return Invalid(f"the body is nested more than {DEPTH_MAX} levels deep", code="not_json")


def depth(found: Any) -> int:
    """Count the levels of objects and arrays, without recursion; stop counting past DEPTH_MAX."""
    level = 0
    values = [found]
    while values and level <= DEPTH_MAX:
        values = [inner for value in values for inner in inside(value)]
        level += bool(values)
    return level


def inside(value: Any) -> Iterable[Any]:
    """Return what an object or array holds."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def exact(text: str) -> Decimal:
    """Read a number with a point or exponent as it is written."""
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError(f"{text[:40]} is not a number this API can hold") from None


def whole(text: str) -> int:
    """Read a whole number; beyond any use its digits are refused before they are computed."""
    if len(text) > DIGITS_MAX:
        raise ValueError(f"{text[:40]}... has more than {DIGITS_MAX} digits")
    return int(text)


def refuse_constant(word: str) -> Any:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(f"{word} is not JSON")


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a field twice: which one was meant?"""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"field {name[:40]!r} appears twice")
        found[name] = value
    return found


DECODER = json.JSONDecoder(parse_int=whole, parse_float=exact, parse_constant=refuse_constant, object_pairs_hook=once)
