"""The seam to the exchanges: what a venue answers."""

from dataclasses import dataclass
from typing import Protocol

from engine.quotes import Pair, Quote

VENUES = ("RAYDIUM", "METEORA")
"""Every venue this engine knows, by the name clients see."""

FEE_BPS = {"RAYDIUM": 25, "METEORA": 20}
"""Swap fee taken from the input: Raydium standard pools 0.25 %; a common Meteora DLMM pool 0.20 %."""


class VenueDown(Exception):
    """The venue did not answer or refused; another try may find it well."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A venue that was asked and has no quote to give; the reason names it."""

    venue: str
    reason: str


Answer = Quote | Silence


class Venue(Protocol):
    """One exchange."""

    @property
    def name(self) -> str:
        """The venue's name, one of VENUES."""
        ...

    async def quote(self, pair: Pair) -> Quote:
        """Ask what the pair is worth now.

        Raises VenueDown.
        """
        ...
