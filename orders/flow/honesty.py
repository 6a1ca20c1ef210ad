"""Pause a venue that pays less than it quotes.

Slippage bounds what one order loses to such a venue, but its quotes win every order: each then fills at the worst price
that its client accepts, or is refused by the chain and uses up its tries.  While no other venue has trades to compare
with, nothing tells that from a move of the market: then only the log says so.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
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
from routing import router
from routing.catalogue import catalogue
from routing.risk_limits import risk_limits
from routing.router import Source
from routing.store import now_ms

log = structlog.get_logger(__name__)

WHO = "engine"
REFUSED = "slippage_exceeded"
"""The error code of a swap that would have paid less than the minimum."""
LOOK_EVERY_S = 5.0
MOMENTS = 12
"""Looks that found settled transactions of a venue, as many as it is judged by: the orders of one moment share one
movement of the price, and a minute's movements are not all against them."""
MOMENTS_AGE_S = 600.0
"""How long what a look found counts."""
ATTEMPTS_MAX = 20_000
SETTLED_MAX = 1_000
"""Newest transactions that one look reads, unsettled ones included, and of these settled ones that it judges by; under
more load they are a sample.

No index covers the time of settlement, so this bounds what a look costs.
"""
SAYS_MAX_BPS = 200
"""The most that one transaction says of a venue, either way: its price may be its own account's doing."""

UNITS_MIN = 10_000
"""Base units from which on a transaction counts; of less, one unit of rounding is more than a basis point."""

SINCE = f"""
    id > (SELECT coalesce(max(id), 0) FROM orders_attempt) - {ATTEMPTS_MAX}
    AND settled_at > coalesce(%s, '-infinity'::timestamptz)
"""  # noqa: S608 - a constant of this module
"""SQL: whether an attempt has settled since a look."""

SHORTFALLS = f"""
    WITH settled AS (
        SELECT order_id, venue, settled_at,
            CASE WHEN expected_in > 0 THEN (amount_in - expected_in) * 10000 / expected_in
            ELSE (expected_out - CASE state WHEN '{AttemptState.LANDED.value}' THEN amount_out ELSE minimum_out END)
                * 10000 / expected_out END AS bps
        FROM orders_attempt
        WHERE {SINCE}
            AND expected_out >= {UNITS_MIN} AND coalesce(expected_in, amount_in) >= {UNITS_MIN}
            AND (state = '{AttemptState.LANDED.value}' OR error_code = '{REFUSED}')
        ORDER BY id DESC LIMIT {SETTLED_MAX}
    ), of_accounts AS (
        SELECT s.venue, max(s.settled_at) AS settled_at,
            avg(greatest(-{SAYS_MAX_BPS}, least({SAYS_MAX_BPS}, s.bps))) AS bps
        FROM settled s JOIN orders_order o ON o.id = s.order_id
        WHERE s.bps IS NOT NULL
        GROUP BY s.venue, o.owner_id
    )
    SELECT venue, max(settled_at) AS settled_at, avg(bps)::float8 AS bps FROM of_accounts GROUP BY venue
"""  # noqa: S608 - constants of our own
"""How far each venue paid less than it had quoted; what it refused, it would have paid less than the minimum for.

For an exact output it took more than quoted: what it refused, more than the maximum, which is then in `amount_in`.
The mean is over accounts, so that one with many orders weighs as one.
"""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What one look finds of a venue where something has settled since the look before: the mean shortfall."""

    venue: str
    settled_at: datetime
    bps: float


@dataclass(frozen=True, slots=True)
class Moment:
    """The mean shortfall that a look found, and when it did by the watch's clock."""

    at: float
    bps: float


class Watch:
    """Compares what venues pay with what they quoted, and pauses one that falls short by itself.

    If the venues fall short together, the market has moved.  Nothing is kept: a worker that starts begins anew.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.until: datetime | None = None
        """The latest settlement that was looked at."""
        self.moments: defaultdict[str, deque[Moment]] = defaultdict(lambda: deque(maxlen=MOMENTS))

    def look(self) -> int:
        """Judge the venues by what has settled since the last look; return how many were paused.

        Raises DatabaseError.
        """
        most = settings.VENUE_SHORTFALL_MAX_BPS
        if not most:
            return 0
        found = fetch_as(Shortfall, SHORTFALLS, self.until)
        now = self.clock()
        # What had settled before the first look only tells where to begin.
        for one in found if self.until else ():
            self.moments[one.venue].append(Moment(now, one.bps))
        self.until = max((one.settled_at for one in found), default=self.until)
        self.forget(now)
        return sum(self.judge(venue, bps) for venue, bps in self.short(most).items())

    def forget(self, now: float) -> None:
        """Drop the moments that are too old, and those of stopped venues.

        What an operator resumes is judged by what it pays from then on.
        """
        stopped = {stop.name for stop in pauses.read().stops.values() if stop.scope is Scope.VENUE}
        for venue, moments in list(self.moments.items()):
            while moments and now - moments[0].at > MOMENTS_AGE_S:
                moments.popleft()
            if not moments or venue in stopped:
                del self.moments[venue]

    def short(self, most: int) -> Mapping[str, float]:
        """Return the venues that fall short by more than this, and by as much more than every other; forget why."""
        means = {venue: fmean(moment.bps for moment in moments) for venue, moments in self.moments.items()}
        found = {}
        for venue, bps in means.items():
            others = [mean for name, mean in means.items() if name != venue]
            if len(self.moments[venue]) == MOMENTS and bps - max([0.0, *others]) > most:
                found[venue] = bps
        for venue in found:
            del self.moments[venue]
        return found

    def judge(self, venue: str, bps: float) -> bool:
        """Pause a venue that falls short if another is known to pay better; tell whether it is paused.

        A venue that wins every order leaves none to compare with: if it falls short by twice as much, another that
        quotes is enough.  Its own moments are forgotten by now, so the log hears of it at most once in MOMENTS looks.
        """
        if max(map(len, self.moments.values()), default=0) >= MOMENTS // 2:
            return trip(venue, bps)
        if bps > 2 * settings.VENUE_SHORTFALL_MAX_BPS and quoting() - {venue}:
            return trip(venue, bps)
        not_paused(venue, bps, "no other venue has traded enough to compare with")
        return False


def quoting() -> set[str]:
    """Return the venues that have a fresh quote of any pair."""
    fresh, stale = risk_limits.QUOTE_FRESH_MS, risk_limits.QUOTE_STALE_MS
    bases = router.from_cache(catalogue().pairs, now_ms(), fresh, stale).values()
    return {quote.venue for basis in bases if basis.source is Source.BEST for quote in basis.quotes}


def trip(venue: str, bps: float) -> bool:
    """Pause a venue, unless it is the last one or is stopped already; tell whether this paused it."""
    reason = f"it paid {bps:.0f} bps less than it had quoted, on average; resume it once its quotes can be trusted"
    try:
        pauses.pause(Scope.VENUE, venue, reason, WHO, replaces=False)
    except CannotPause as why:
        not_paused(venue, bps, str(why))
        return False
    metrics.venue_tripped(venue)
    acts.record(WHO, "limit worker", "pause", f"venue:{venue}", "paused", reason=reason)
    return True


def not_paused(venue: str, bps: float, reason: str) -> None:
    log.error("venue pays less than it quotes and is not paused by this", venue=venue, bps=round(bps), reason=reason)
