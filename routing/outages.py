"""Venues that are not used: sandbox venues that are down, those that operators have paused or halted, and failing ones.

Owner of the keys `sandbox:venues`, `venues:paused` and `venues:failing`.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from django.conf import settings

from routing.memory import Memory
from routing.store import StoreError, now_ms, redis
from routing.venues import VENUES

KEY = "sandbox:venues"
PAUSED = "venues:paused"
FAILING = "venues:failing"
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
    withheld.forget()


def leave_out(reasons: Mapping[str, str], for_ms: int) -> None:
    """Open the breakers of failing venues for so long from now; `reasons`, by venue, say what is wrong with them."""
    until = now_ms() + for_ms
    redis().hset(FAILING, mapping={venue: f"{until} {reason}" for venue, reason in reasons.items()})
    withheld.forget()


class Failing(NamedTuple):
    """A venue whose breaker is open until a moment of the store's clock, in epoch milliseconds."""

    until: int
    sentence: str


class Withheld(NamedTuple):
    """The venues that are not used: the paused and halted ones, and those whose breaker has been opened."""

    paused: dict[str, str]
    failing: dict[str, Failing]


def read_withheld() -> Withheld:
    """Read both in one round trip."""
    pipe = redis().pipeline(transaction=False)
    pipe.hgetall(PAUSED)
    pipe.hgetall(FAILING)
    stopped, failed = pipe.execute()
    return Withheld(stopped, {venue: failing_from(venue, text) for venue, text in failed.items()})


def failing_from(venue: str, text: str) -> Failing:
    """Read what `leave_out` has written."""
    until, _, reason = text.partition(" ")
    clock = f"{datetime.fromtimestamp(int(until) / 1000, UTC):%H:%M:%S} UTC"
    return Failing(int(until), f"{venue}'s breaker is open until {clock}: {reason}")


withheld = Memory("withheld venues", read_withheld, Withheld({}, {}), (StoreError,), REMEMBER_S)
"""The venues that are not used, as this process knows them."""


def paused() -> dict[str, str]:
    """Return the paused and halted venues, each with the sentence that says so."""
    return withheld().paused


def failing() -> dict[str, str]:
    """Return the venues whose breaker is open, each with the sentence that says so.

    They are polled all the same, and orders are routed to them if no other venue can fill these.
    """
    known = withheld().failing
    now = now_ms() if known else 0
    return {venue: one.sentence for venue, one in known.items() if one.until > now}
