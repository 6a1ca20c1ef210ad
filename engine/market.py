"""Events in a token's market."""

from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """The kinds of market events."""

    POOL = "pool"
    """A pool was created; the amount is its liquidity, which adds to the token's total."""
    LIQUIDITY = "liquidity"
    """A liquidity reading: the amount is the current total over all pools of the token."""
    TRADE = "trade"
    """A trade of that amount."""


@dataclass(frozen=True, slots=True)
class MarketEvent:
    """One event of a token: `amount` in US cents, `at` in epoch milliseconds by the store's clock.

    `id` identifies the event: publishing the same event again changes nothing.
    """

    id: str
    kind: EventKind
    mint: str
    venue: str
    amount: int
    at: int
