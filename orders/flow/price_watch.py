"""Price watch: tells the limit worker of each new price that reaches resting orders."""

import threading

import structlog
from django.db import close_old_connections

from orders.flow import limits

log = structlog.get_logger(__name__)


class PriceWatch(threading.Thread):
    """Background thread that checks pairs with a new price, so that the venues' event loop never waits."""

    def __init__(self) -> None:
        super().__init__(name="price watch", daemon=True)
        self.changed: set[str] = set()
        self.lock = threading.Condition()
        self.stopping = False

    def price_changed(self, pair: str) -> None:
        """Have a pair checked; returns at once."""
        with self.lock:
            self.changed.add(pair)
            self.lock.notify()

    def run(self) -> None:
        """Check changed pairs until told to stop."""
        while pairs := self.next_pairs():
            try:
                limits.price_changed(pairs)
            except Exception as reason:
                # It must outlive any store's outage; beat's check fires what is missed.
                log.warning("prices not looked at, the next ones will be", pairs=len(pairs), reason=repr(reason))
            finally:
                close_old_connections()

    def next_pairs(self) -> set[str]:
        """Wait for pairs and take them all; none when it is time to end."""
        with self.lock:
            self.lock.wait_for(lambda: self.changed or self.stopping)
            taken, self.changed = self.changed, set()
            return set() if self.stopping else taken

    def stop(self) -> None:
        """End after the look in hand."""
        with self.lock:
            self.stopping = True
            self.lock.notify()
