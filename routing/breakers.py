"""Leave out a venue that often fails: a circuit breaker for each venue, open while it fails and a while longer.

There is no half-open state to try a venue in: its quotes are polled all the same, so each answer is a trial.  A breaker
is opened again and again while its venue fails, and then runs out; a worker that dies leaves no venue out for good.

A breaker leaves a venue out only where another can do: routing/quotes.py keeps it while no other has a fresh quote, and
orders/flow/routes.py tries it for an order that no other can fill.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

import structlog
from django.conf import settings

from routing import outages
from routing.venues import VENUES

log = structlog.get_logger(__name__)

JUDGE_EVERY_S = 1.0
MOMENTS, MOMENTS_MIN = 10, 5
"""Moments with results that a venue is judged by, at most and at least; one moment of trouble opens nothing."""
MOMENTS_AGE_S = 60.0
"""How long a moment counts."""
LEFT_OUT_MS = 10_000
"""How long a breaker is open after its venue has last failed too often."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The share of a venue's results between two judgements that were failures, and when these were judged."""

    at: float
    share: float


class Breakers:
    """Judges the venues by results of one kind, and opens the breakers of those that fail too often.

    `what` completes "60% of ".
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.what = what
        self.clock = clock
        self.lock = threading.Lock()
        self.failures: defaultdict[str, list[float]] = defaultdict(list)
        """How much of each result since the last judgement was a failure, from 0 to 1, by venue."""
        self.moments: defaultdict[str, deque[Moment]] = defaultdict(lambda: deque(maxlen=MOMENTS))
        self.opened: set[str] = set()
        """The venues whose breaker this has opened, until it has closed."""
        self.none_left = False

    def note(self, venue: str, failure: float) -> None:
        """Take a result into account: 1 is a failure, 0 none.  Safe to call from any thread."""
        with self.lock:
            self.failures[venue].append(failure)

    def hear(self, venue: str, in_time: bool) -> None:
        """Take into account whether a venue has answered in time."""
        self.note(venue, 0.0 if in_time else 1.0)

    def judge(self) -> int:
        """Open the breakers of the venues that fail too often; return how many.

        Raises StoreError.
        """
        most = settings.VENUE_FAILURES_MAX_PCT
        self.end_moment(self.clock())
        means = {v: fmean(m.share for m in ms) for v, ms in self.moments.items() if len(ms) >= MOMENTS_MIN}
        failed = {v: f"{mean:.0%} of {self.what}" for v, mean in means.items() if most and 100 * mean >= most}
        if failed:
            outages.leave_out(failed, LEFT_OUT_MS)
        self.tell(failed, set(outages.failing()))
        return len(failed)

    def end_moment(self, now: float) -> None:
        """Turn what was noted into one moment of each venue, and drop the moments that are too old."""
        with self.lock:
            noted, self.failures = self.failures, defaultdict(list)
        for venue, failures in noted.items():
            self.moments[venue].append(Moment(now, fmean(failures)))
        for moments in self.moments.values():
            while moments and now - moments[0].at > MOMENTS_AGE_S:
                moments.popleft()

    def tell(self, failed: Mapping[str, str], failing: set[str]) -> None:
        """Log each breaker that this opens, and when it has closed; and once that no venue is left."""
        for venue in sorted(failed.keys() - self.opened):
            log.warning("venue left out, its breaker has opened", venue=venue, reason=failed[venue])
        for venue in sorted(self.opened - failed.keys() - failing):
            log.info("venue used again, its breaker has closed", venue=venue)
        self.opened = (self.opened & failing) | failed.keys()
        none_left = bool(failed) and failing >= set(VENUES) - outages.paused().keys()
        if none_left and not self.none_left:
            log.error("every venue fails, orders are routed to all of them", venues=sorted(failing))
        self.none_left = none_left
