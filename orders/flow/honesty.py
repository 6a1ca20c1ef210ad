"""Pause a venue that pays less than it quotes.

Slippage bounds what one order loses to such a venue, but its quotes win every order: each then fills at the worst price
that its client accepts, or is refused by the chain and uses up its tries.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

import structlog
from django.conf import settings

from engine.lifecycle import AttemptState
from orders.flow import pauses
from orders.flow.pauses import CannotPause
from orders.models import Scope
from orders.stores import acts
from orders.stores.rows import fetch_as
from orders.telemetry import metrics

log = structlog.get_logger(__name__)

WHO = "engine"
REFUSED = "slippage_exceeded"
"""The error code of a swap that would have paid less than the minimum."""
LOOK_EVERY_S = 5.0
MOMENTS = 12
"""Looks that found settled transactions of a venue, as many as it is judged by: the orders of one moment share one
movement of the price, and a minute's movements are not all against them."""
ATTEMPTS_MAX = 2_000
"""Newest transactions that one look reads; under more load they are a sample."""

UNITS_MIN = 10_000
"""Base units from which on a transaction counts; of less, one unit of rounding is more than a basis point."""

SHORTFALLS = f"""
    WITH newest AS (
        SELECT * FROM orders_attempt WHERE id > (SELECT coalesce(max(id), 0) FROM orders_attempt) - {ATTEMPTS_MAX}
    )
    SELECT venue, max(settled_at) AS settled_at, avg(
        CASE WHEN expected_in > 0 THEN (amount_in - expected_in) * 10000 / expected_in
             ELSE (expected_out - CASE state WHEN '{AttemptState.LANDED.value}' THEN amount_out ELSE minimum_out END)
                  * 10000 / expected_out END
    ) FILTER (WHERE settled_at > %s)::float8 AS bps
    FROM newest
    WHERE expected_out >= {UNITS_MIN} AND coalesce(expected_in, amount_in) >= {UNITS_MIN} AND settled_at IS NOT NULL
        AND (state = '{AttemptState.LANDED.value}' OR error_code = '{REFUSED}')
    GROUP BY venue
"""  # noqa: S608 - constants of our own
"""How far each venue paid less than it had quoted; what it refused, it would have paid less than the minimum for.

For an exact output it took more than quoted: what it refused, more than the maximum, which is then in `amount_in`.
"""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What one look finds of a venue: the mean shortfall since the look before, None if nothing was settled since."""

    venue: str
    settled_at: datetime
    bps: float | None


class Watch:
    """Compares what venues pay with what they quoted, and pauses one that falls short by itself.

    If the venues fall short together, the market has moved.  Nothing is kept: a worker that starts begins anew.
    """

    def __init__(self) -> None:
        self.until: datetime | None = None
        """The latest settlement that was looked at."""
        self.moments: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MOMENTS))

    def look(self) -> int:
        """Judge the venues by what has settled since the last look; return how many were paused.

        Raises DatabaseError.
        """
        most = settings.VENUE_SHORTFALL_MAX_BPS
        if not most:
            return 0
        found = fetch_as(Shortfall, SHORTFALLS, self.until)
        self.until = max((one.settled_at for one in found), default=None)
        for one in found:
            if one.bps is not None:
                self.moments[one.venue].append(one.bps)
        # What an operator resumes is judged by what it pays from then on.
        for stop in pauses.read().stops.values():
            if stop.scope is Scope.VENUE:
                self.moments.pop(stop.name, None)
        return sum(trip(venue, bps) for venue, bps in self.short(most).items())

    def short(self, most: int) -> Mapping[str, float]:
        """Return the venues that fall short by more than this, and by as much more than every other; forget why."""
        means = {venue: fmean(moments) for venue, moments in self.moments.items()}
        found = {}
        for venue, bps in means.items():
            others = [mean for name, mean in means.items() if name != venue]
            if len(self.moments[venue]) == MOMENTS and bps - max([0.0, *others]) > most:
                found[venue] = bps
        for venue in found:
            del self.moments[venue]
        return found


def trip(venue: str, bps: float) -> bool:
    """Pause a venue, unless it is the last one; tell whether it is paused."""
    reason = f"it paid {bps:.0f} bps less than it had quoted, on average; resume it once its quotes can be trusted"
    try:
        pauses.pause(Scope.VENUE, venue, reason, WHO)
    except CannotPause as why:
        log.error("venue pays less than it quotes and is not paused", venue=venue, bps=round(bps), reason=str(why))
        return False
    metrics.venue_tripped(venue)
    acts.record(WHO, "limit worker", "pause", f"venue:{venue}", "paused", reason=reason)
    return True
