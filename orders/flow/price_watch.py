"""Price watch: wake the limit worker for each new price that reaches resting orders."""

import threading

import structlog
from django.db import close_old_connections

from orders.flow import limits

log = structlog.get_logger(__name__)


class PriceWatch(threading.Thread):
    """Background thread that checks pairs with a new price, so that the venues' event loop never blocks."""

    def __init__(self) -> None:
        super().__init__(name="price watch", daemon=True)
        self.changed: set[str] = set()
        self.lock = threading.Condition()
        self.stopping = False

    def price_changed(self, pair: str) -> None:
        """Queue a pair for a check; returns at once."""
        with self.lock:
            self.changed.add(pair)
            self.lock.notify()

    def run(self) -> None:
        """Check changed pairs until stopped."""
        while pairs := self.next_pairs():
            try:
                limits.price_changed(pairs)
            except Exception as reason:
                # The thread must survive the outage of any store; beat's check fires the orders it misses.
                log.warning("price changes not checked, the next will be", pairs=len(pairs), reason=repr(reason))
            finally:
                close_old_connections()

    def next_pairs(self) -> set[str]:
        """Wait for pairs and take them all; empty once the thread is stopping."""
        with self.lock:
            self.lock.wait_for(lambda: self.changed or self.stopping)
            taken, self.changed = self.changed, set()
            return set() if self.stopping else taken

    def stop(self) -> None:
        """Stop after the running check."""
        with self.lock:
            self.stopping = True
            self.lock.notify()
