"""The venues: their names and fees, and the interface to them.

routing/README.md lists the files to change for another venue.  routing/wiring.py makes the venues.
"""

from dataclasses import dataclass
from typing import Protocol

from engine.quotes import Pair, Quote

VENUES = ("RAYDIUM", "METEORA")
"""All venues this engine supports, by the names clients see."""

FEE_BPS = {"RAYDIUM": 25, "METEORA": 20}
"""Swap fee taken from the input: Raydium standard pools 0.25 %; a common Meteora DLMM pool 0.20 %."""


class VenueDown(Exception):
    """The venue refused the request or did not answer; a retry may succeed."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A venue that was asked and gave no quote; the reason includes its name."""

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
        """Request the venue's current quote for the pair.

        Raises VenueDown.  Any other error counts as a malformed answer.
        """
        ...
