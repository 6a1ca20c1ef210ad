"""Cancel on disconnect: what rests and was placed with an API key is cancelled once its last WebSocket is gone."""

import time
from collections.abc import Callable

import structlog
from django.conf import settings

from engine.event_kinds import Cancelled
from orders.flow import waiting
from orders.stores import connected
from routing.store import StoreError

log = structlog.get_logger(__name__)

CODE = "disconnected"
GAP_S = 5.0
"""Longest time between two looks at the leases that belong together."""


class Watch:
    """Looks at the leases of connected keys, and cancels for those that have ended.

    Servers cannot renew a lease while Redis is frozen or unreachable. So a lease counts as ended only once this watch
    has been able to look for as long as a lease lasts: by then they could renew it, too.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.since: float | None = None
        self.looked_at = float("-inf")

    def look(self) -> int:
        """Cancel for the keys that are gone; return how many there were."""
        now = self.clock()
        if now - self.looked_at > GAP_S:
            self.since = None
        try:
            gone = connected.lapsed()
        except StoreError:
            self.since = None
            raise
        self.since = now if self.since is None else self.since
        ready = self.clock() - self.since >= settings.DISCONNECT_GRACE_S + 2 * connected.RENEW_EVERY_S
        for key in gone if ready else ():
            cancel(key)
        self.looked_at = self.clock()
        return len(gone)


def cancel(key: int) -> None:
    """Cancel what rests and was placed with a key; what is left is cancelled on the next look."""
    reason = f"the last WebSocket of its API key was gone for longer than {settings.DISCONNECT_GRACE_S} s"
    done = waiting.cancel_each(waiting.of_key(key), Cancelled(reason, CODE))
    log.warning("orders cancelled on disconnect", key=key, orders=done.cancelled, complete=done.complete)
    if done.complete:
        connected.forget(key)
