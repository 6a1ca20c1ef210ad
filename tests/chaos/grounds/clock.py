"""A store's clock that can be set: Debian's libfaketime, preloaded."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stands.packages import ROOT

LIBRARY = "usr/lib/*-linux-gnu/faketime/libfaketimeMT.so.1"
NAMES = ("LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE", "FAKETIME_CACHE_DURATION", "DONT_FAKE_MONOTONIC")
SHARED = Path("/dev/shm")


def library() -> Path | None:
    """Find libfaketime, installed or unpacked in TEST_PACKAGES; None where it is not."""
    return next(iter(sorted(ROOT.glob(LIBRARY))), None)


class Clock:
    """One server's clock: the machine's, shifted.  Without libfaketime it cannot be set."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.library = library()
        self.shift_s = 0.0
        self.pids: list[int] = []
        self.set(0.0)

    def set(self, shift_s: float) -> None:
        """Shift the clock from now on; the server notices within a second."""
        self.shift_s = shift_s
        new = self.file.with_suffix(".new")
        new.write_text(f"{shift_s:+.3f}\n")
        # The server may run under another account.
        new.chmod(0o644)
        new.replace(self.file)

    @contextmanager
    def inherited(self) -> Iterator[None]:
        """Have what is started meanwhile go by this clock."""
        told = (str(self.library), str(self.file), "1", "1")
        os.environ.update(zip(NAMES, told, strict=True) if self.library else ())
        try:
            yield
        finally:
            for name in NAMES:
                os.environ.pop(name, None)

    def tidy(self) -> None:
        """Delete what libfaketime keeps for processes that were killed."""
        for pid in self.pids:
            for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
                (SHARED / name).unlink(missing_ok=True)
