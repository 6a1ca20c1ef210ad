"""Ids of orders, which sort by time: version 7 UUIDs begin with 48 bits of milliseconds (RFC 9562, 5.7)."""

from datetime import datetime
from uuid import UUID

CLOCKS_APART_MS = 3_600_000
"""How far a server's clock, which makes ids, may be from that of Postgres, which says when an order was created."""


def first_at(at_ms: int) -> UUID:
    """Return the least id that can be made at this millisecond."""
    return UUID(int=min(max(at_ms, 0), 2**48 - 1) << 80)


def first_since(at: datetime) -> UUID:
    """Return an id below every one of an order created since then."""
    return first_at(int(at.timestamp() * 1000) - CLOCKS_APART_MS)


def first_past(at: datetime) -> UUID:
    """Return an id above every one of an order created before then."""
    return first_at(int(at.timestamp() * 1000) + CLOCKS_APART_MS)
