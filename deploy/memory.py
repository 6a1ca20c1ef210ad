"""Memory that a peak of load took goes back to the system: glibc keeps what is freed between pieces still in use."""

import ctypes
import threading
import time
from collections.abc import Callable

EVERY_S = 5.0


def trimmer() -> Callable[[int], int] | None:
    """Return glibc's malloc_trim(3); None with another C library."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Trim this process's heap every EVERY_S, on a thread, so call it after the fork; takes a few milliseconds."""
    if trim := trimmer():
        threading.Thread(target=repeat, args=(trim,), name="memory", daemon=True).start()


def repeat(trim: Callable[[int], int]) -> None:
    while True:
        time.sleep(EVERY_S)
        trim(0)
