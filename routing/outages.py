"""Venues that must not be used: sandbox venues that are down, and venues that operators have paused or halted.

Owner of the keys `sandbox:venues` and `venues:paused`.
"""

import time
from collections.abc import Mapping

from django.conf import settings

from routing.memory import Memory
from routing.store import StoreError, redis
from routing.venues import VENUES

KEY = "sandbox:venues"
PAUSED = "venues:paused"
REMEMBER_S = 0.2


class UnknownVenue(ValueError):
    """No venue has this name."""


def put(venue: str, state: str) -> None:
    """Set a venue `down` or `up` for every process, until it is set again.

    Raises UnknownVenue.
    """
    if venue not in VENUES:
        raise UnknownVenue(f"{venue!r} is not a venue; the venues are {', '.join(VENUES)}")
    redis().hset(KEY, venue, state)


class Outages:
    """The venues' states as cached by this process, at most REMEMBER_S old; settings give the initial states."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.read_at = float("-inf")

    def __call__(self, venue: str) -> bool:
        """Tell whether the venue is down."""
        if time.monotonic() - self.read_at > REMEMBER_S:
            self.read_at = time.monotonic()
            self.refresh()
        default = "down" if venue in settings.MOCK_VENUES_DOWN else "up"
        return self.states.get(venue, default) == "down"

    def refresh(self) -> None:
        """Read the states; keep the old ones if Redis is unreachable."""
        try:
            self.states = dict(redis().hgetall(KEY))  # type: ignore[arg-type]
        except StoreError:
            return


is_down = Outages()


def withhold(reasons: Mapping[str, str]) -> None:
    """Replace the set of paused and halted venues: no process queries them or routes to them.

    `reasons`, by venue, are the sentences that say so.
    """
    pipe = redis().pipeline(transaction=True)
    pipe.delete(PAUSED)
    if reasons:
        pipe.hset(PAUSED, mapping=dict(reasons))  # type: ignore[arg-type]
    pipe.execute()
    paused.forget()


def read_paused() -> dict[str, str]:
    """Read the paused and halted venues, each with the sentence that says so."""
    return dict(redis().hgetall(PAUSED))  # type: ignore[arg-type]


paused: Memory[dict[str, str]] = Memory("paused venues", read_paused, {}, (StoreError,), REMEMBER_S)
"""The paused and halted venues, each with the sentence that says so."""
