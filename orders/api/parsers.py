"""JSON as this API reads it: decimals exact, and no input that can do worse than a 400."""

import json
from decimal import Decimal
from typing import IO, Any

from rest_framework.parsers import BaseParser

from orders.api.errors import Invalid

BODY_MAX = 64 * 1024
"""Bytes of a request body."""


class StrictJSONParser(BaseParser):
    """Parses application/json with `loads`."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: Any = None, parser_context: Any = None) -> Any:
        """Read the whole body.

        Raises Invalid.
        """
        return loads(stream.read(BODY_MAX + 1))


def loads(text: bytes | str) -> Any:
    """Read JSON: numbers with a point as Decimal, no NaN, no repeated names.

    Raises Invalid for anything that is not JSON, is nested too deeply, or is too large.
    """
    if len(text) > BODY_MAX:
        raise Invalid(f"the body is larger than {BODY_MAX} bytes", code="too_large")
    try:
        return json.loads(text, parse_float=exact, parse_constant=refuse_constant, object_pairs_hook=once)
    except RecursionError:
        raise Invalid("the body is nested too deeply", code="not_json") from None
    except ValueError as reason:
        raise Invalid(f"the body is not JSON: {str(reason)[:200]}", code="not_json") from None


def exact(text: str) -> Decimal:
    """Read a number with a point or exponent as it is written."""
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError(f"{text[:40]} is not a number this API can hold") from None


def refuse_constant(word: str) -> Any:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(f"{word} is not JSON")


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a field twice: which one was meant?"""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"field {twice[:40]!r} appears twice")
    return found
