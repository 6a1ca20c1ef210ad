"""What a process remembers of a store, so that nobody asks it again for each order."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Memory(Generic[T]):
    """The process's last reading of one thing, at most about `for_s` seconds old; older while its store is away.

    A call costs a look at the clock.  While one thread reads anew, the others go on with what there is, and nobody
    waits for a store that is away more than once in `for_s`.
    """

    def __init__(
        self, what: str, read: Callable[[], T], before: T, away: tuple[type[Exception], ...], for_s: float
    ) -> None:
        self.what = what
        self.read = read
        self.away = away
        self.for_s = for_s
        self.reading = before
        """What holds until it is read for the first time."""
        self.read_at = float("-inf")
        self.reader = threading.Lock()
        self.has_read = self.failing = False

    def __call__(self) -> T:
        """Return what was read last, or read anew."""
        if time.monotonic() - self.read_at > self.for_s:
            self.read_anew()
        return self.reading

    def read_anew(self) -> None:
        """Read, unless another thread does just now; the very first reading everybody waits for."""
        if not self.reader.acquire(blocking=not self.has_read):
            return
        try:
            if time.monotonic() - self.read_at > self.for_s:
                self.renew()
        finally:
            self.reader.release()

    def renew(self) -> None:
        """Read, or keep what there is for another while."""
        # The time before the reading, so that what changes meanwhile is not missed for longer than for_s.
        read_at = time.monotonic()
        try:
            self.reading = self.read()
            self.failing = False
        except self.away as reason:
            if not self.failing:
                log.warning("not read, the last reading stays", what=self.what, reason=str(reason))
            self.failing, read_at = True, time.monotonic()
        self.read_at, self.has_read = read_at, True

    def forget(self) -> None:
        """Read again on the next use."""
        self.read_at = float("-inf")
