"""Ctrl-C and the end of a child, as the launcher hears of them."""

import contextlib
import os
import select
import signal


class Interrupted(BaseException):
    """Raised by Ctrl-C or SIGTERM while the start is under way, and by the second one at any time."""


class Signals:
    """Counts requests to stop and wakes the waiting launcher, also when a child has ended."""

    def __init__(self) -> None:
        self.stops = 0
        self.raising = True
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _stop(self, *_: object) -> None:
        self.stops += 1
        if self.raising or self.stops > 1:
            raise Interrupted

    def wait(self, seconds: float) -> None:
        """Return after a signal, or after so many seconds."""
        select.select([self._read], [], [], max(seconds, 0))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 512):
                pass

    def forget(self) -> None:
        """Undo all of it in a forked child."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self._read)
        os.close(self._write)
