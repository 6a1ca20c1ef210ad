"""What happens in a token's market."""

from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """What can happen to a token."""

    POOL = "pool"
    """A pool was created; the amount is what it holds, which adds to the token's liquidity."""
    LIQUIDITY = "liquidity"
    """A reading: all pools of the token together are worth the amount now."""
    TRADE = "trade"
    """The amount was traded."""


@dataclass(frozen=True, slots=True)
class MarketEvent:
    """Something that happened to a token: `amount` in US cents, `at` in epoch milliseconds by the store's clock.

    `id` is what tells two events apart: the same one published again changes nothing.
    """

    id: str
    kind: EventKind
    mint: str
    venue: str
    amount: int
    at: int
