"""The bell: rung for a pair with each new quote, so that limit orders fire with the price and not with the clock."""

import threading

import structlog
from django.db import close_old_connections

from orders.flow import limits

log = structlog.get_logger(__name__)


class Bell(threading.Thread):
    """Looks at pairs that have a new price, beside the loop that hears the venues."""

    def __init__(self) -> None:
        super().__init__(name="bell", daemon=True)
        self.struck: set[str] = set()
        self.lock = threading.Condition()
        self.stopping = False

    def strike(self, pair: str) -> None:
        """Have a pair looked at; returns at once."""
        with self.lock:
            self.struck.add(pair)
            self.lock.notify()

    def run(self) -> None:
        """Look at what was struck until told to stop."""
        while pairs := self.next_pairs():
            try:
                limits.ring(pairs)
            except Exception as reason:
                # It must outlive any store's outage; beat's check fires what is missed.
                log.warning("prices not looked at, the next ones will be", pairs=len(pairs), reason=repr(reason))
            finally:
                close_old_connections()

    def next_pairs(self) -> set[str]:
        """Wait for pairs and take them all; none when it is time to end."""
        with self.lock:
            self.lock.wait_for(lambda: self.struck or self.stopping)
            taken, self.struck = self.struck, set()
            return set() if self.stopping else taken

    def stop(self) -> None:
        """End after the look in hand."""
        with self.lock:
            self.stopping = True
            self.lock.notify()
