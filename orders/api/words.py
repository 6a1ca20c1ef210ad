"""What single fields of answers and events hold, described: choices, and texts of one form."""

from collections.abc import Iterable

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from engine.lifecycle import Status
from engine.orders import OrderType, TimeInForce
from orders.api.errors import CODES
from orders.api.fields import CLIENT_ORDER_ID, TOKEN_SCHEMA
from orders.api.filters import PAIR_SCHEMA
from routing.venues import VENUES


def choices(values: Iterable[str]) -> list[tuple[str, str]]:
    """Turn values into the choices of a field."""
    return [(str(value), str(value)) for value in values]


STATUSES = choices(Status)
READINESS = choices(["ready", "degraded"])
LIVES = choices(TimeInForce)
SNIPER_LIVES = choices([TimeInForce.GTC, TimeInForce.GTD])
TYPES = choices(OrderType)
VENUE_NAMES = choices(VENUES)
FAILURES = choices(CODES)
PROBLEMS = ("no_quote", "cannot_fill", "price_impact")


@extend_schema_field({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "examples": ["154.8896"]})
class Decimals(serializers.CharField):
    """A decimal, written out."""


@extend_schema_field(TOKEN_SCHEMA)
class TokenName(serializers.CharField):
    """A token by its symbol, or by its mint while it is not listed."""


@extend_schema_field(PAIR_SCHEMA)
class PairName(serializers.CharField):
    """A directed pair."""


@extend_schema_field({"type": "string", "pattern": CLIENT_ORDER_ID})
class ClientOrderId(serializers.CharField):
    """A client's own name for an order."""


@extend_schema_field({"type": "string", "pattern": "^[1-9A-HJ-NP-Za-km-z]{32,44}$"})
class Mint(serializers.CharField):
    """A Solana address."""


@extend_schema_field({"type": "string", "pattern": "^[1-9A-HJ-NP-Za-km-z]{64,88}$"})
class Signature(serializers.CharField):
    """A Solana transaction's signature."""


@extend_schema_field({"type": "string", "pattern": r"^wss?://[^/]+/ws/[0-9a-f-]{36}$"})
class SocketURL(serializers.CharField):
    """A WebSocket's address."""
