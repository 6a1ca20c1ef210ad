"""Cancel on disconnect: what rests and was placed with an API key is cancelled once its last WebSocket is gone."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.conf import settings

from engine.event_kinds import Cancelled
from orders.flow import waiting
from orders.stores import connected
from routing.store import StoreError

log = structlog.get_logger(__name__)

CODE = "disconnected"
GAP_S = 3.0
"""Time without a look at the leases after which whatever was seen before counts no more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease with the score that it has had in every look since `since`, by the watch's clock."""

    score: float
    since: float


class Watch:
    """Looks at the leases of connected keys, and cancels for those that nobody renews.

    A lease has ended once it has kept its score for as long as a lease lasts, in looks that were never GAP_S apart.
    So no clock but the watch's own is trusted; and while the engine, Redis or the watch is away or frozen, or if Redis
    comes back older, the time starts anew: by its end, servers that are there have renewed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.leases: dict[int, Lease] = {}
        self.looked_at = float("-inf")

    def look(self) -> int:
        """Cancel for the keys that are gone; return how many there were."""
        self.read()
        gone = [(key, lease) for key, lease in self.leases.items() if self.has_ended(lease)]
        for key, lease in gone:
            self.cancel(key, lease)
        return len(gone)

    def read(self) -> None:
        """Note the leases as they are now.

        Raises StoreError.
        """
        try:
            scores = connected.leases()
        except StoreError:
            self.leases = {}
            raise
        # Taken after the answer: a Redis that was frozen has kept this waiting, and the servers, too.
        now = self.clock()
        before = self.leases if now - self.looked_at < GAP_S else {}
        self.looked_at = now
        self.leases = {
            key: lease if (lease := before.get(key)) and lease.score == score else Lease(score, now)
            for key, score in scores.items()
        }

    def has_ended(self, lease: Lease) -> bool:
        # The client has the whole grace, and a server that it comes back to at its end a renewal that GAP_S may delay.
        whole_s = settings.DISCONNECT_GRACE_S + 2 * connected.RENEW_EVERY_S + GAP_S
        return self.looked_at - lease.since >= whole_s

    def cancel(self, key: int, lease: Lease) -> None:
        """Cancel what rests and was placed with a key, as long as its lease stays as it is; the next look goes on.

        The lease is dropped once nothing of the key is left: an order that is just moving may yet rest again.
        """
        reason = f"the last WebSocket of its API key was gone for longer than {settings.DISCONNECT_GRACE_S} s"
        placed, deadline = waiting.of_key(key), self.clock() + waiting.ALL_WITHIN_S
        for done in waiting.cancel_pages(placed, Cancelled(reason, CODE)):
            if done.complete or self.clock() > deadline:
                break
            self.read()
            if self.leases.get(key) != lease:
                log.info("key is connected again, or may be: its orders stay", key=key, orders=done.cancelled)
                return
        over = done.complete and next(waiting.known_of(placed), None) is None and connected.forget(key, lease.score)
        if done.cancelled or over:
            log.warning("orders cancelled on disconnect", key=key, orders=done.cancelled, complete=over)
