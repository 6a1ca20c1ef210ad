"""Order ids, which sort by time: version 7 UUIDs begin with 48 bits of milliseconds (RFC 9562, 5.7)."""

from datetime import datetime
from uuid import UUID

from uuid6 import uuid7

CLOCKS_APART_MS = 3_600_000
"""Tolerated skew between the servers' clocks, which set ids, and Postgres' clock, which sets `created_at`."""


def new_id() -> str:
    """Return an id for an order."""
    return str(uuid7())


def first_at(at_ms: int) -> UUID:
    """Return the smallest id possible in this millisecond."""
    return UUID(int=min(max(at_ms, 0), 2**48 - 1) << 80)


def first_since(at: datetime) -> UUID:
    """Return an id below the ids of all orders created since then."""
    return first_at(int(at.timestamp() * 1000) - CLOCKS_APART_MS)


def first_past(at: datetime) -> UUID:
    """Return an id above the ids of all orders created before then."""
    return first_at(int(at.timestamp() * 1000) + CLOCKS_APART_MS)
