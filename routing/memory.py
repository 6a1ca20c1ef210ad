"""A per-process cache of values from a store, so that orders do not each query it."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Memory(Generic[T]):
    """A cached value, at most about `for_s` seconds old; older while its store is unavailable.

    A call costs one clock read.  While one thread refreshes the value, the others use the cached one.  An unavailable
    store is tried at most once per `for_s`.
    """

    def __init__(
        self, what: str, read: Callable[[], T], before: T, away: tuple[type[Exception], ...], for_s: float
    ) -> None:
        self.what = what
        self.read = read
        self.away = away
        self.for_s = for_s
        self.reading = before
        """The cached value; before the first read, the default `before`."""
        self.read_at = float("-inf")
        self.reader = threading.Lock()
        self.has_read = self.failing = False
        self.forgotten = 0

    def __call__(self) -> T:
        """Return the cached value, refreshed if it is too old."""
        if not self.is_recent:
            self.read_anew()
        return self.reading

    @property
    def is_recent(self) -> bool:
        """Tell whether a call would return the cached value at once."""
        return time.monotonic() - self.read_at <= self.for_s

    def read_anew(self) -> None:
        """Refresh, unless another thread is doing so; all threads wait for the very first read."""
        if not self.reader.acquire(blocking=not self.has_read):
            return
        try:
            if not self.is_recent:
                self.renew()
        finally:
            self.reader.release()

    def renew(self) -> None:
        """Read the value, or keep the cached one for another `for_s`."""
        # The time before the read, so that a change during it is not missed for longer than for_s.
        read_at, forgotten = time.monotonic(), self.forgotten
        try:
            self.reading = self.read()
            self.failing = False
        except self.away as reason:
            if not self.failing:
                log.warning("cache not refreshed, keeping the last value", what=self.what, reason=str(reason))
            self.failing, read_at = True, time.monotonic()
        self.has_read = True
        # What was forgotten meanwhile may have changed after it was read.
        if self.forgotten == forgotten:
            self.read_at = read_at

    def forget(self) -> None:
        """Refresh on the next use."""
        self.forgotten += 1
        self.read_at = float("-inf")
