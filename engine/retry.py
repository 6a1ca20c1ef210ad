"""Decide whether and when a failed try is retried.  Pure."""

from collections.abc import Callable

from engine.failures import Failure

BASE_MS = 250
CAP_MS = 10_000
AWAY_CAP_MS = 4_000
"""Longest wait for an unavailable dependency: short, so that orders resume soon after it is back."""


def delay_ms(attempt: int, chance: Callable[[], float]) -> int:
    """Return the wait before try `attempt + 1`, in milliseconds: exponential backoff with full jitter.

    `chance` returns a number in [0, 1).  Source: Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
    """
    # An exponent past 20 is past any cap; bounding it keeps the number small.
    ceiling = min(CAP_MS, BASE_MS * 2 ** min(attempt, 20))
    return int(ceiling * chance())


def away_ms(times: int, chance: Callable[[], float], base_ms: int = BASE_MS, cap_ms: int = AWAY_CAP_MS) -> int:
    """Return the wait before an unavailable dependency is tried again, in milliseconds.

    `times` is how often in a row it was unavailable.  Exponential backoff with equal jitter: the wait is at least half
    the ceiling, because asking again at once gains nothing.
    """
    ceiling = min(cap_ms, base_ms * 2 ** min(times, 20))
    return int(ceiling * (1 + chance()) / 2)


def decide(failure: Failure, attempt: int, max_attempts: int, chance: Callable[[], float]) -> int | None:
    """Return the wait in milliseconds before the next try, or None to give up."""
    if not failure.retryable or attempt >= max_attempts:
        return None
    return delay_ms(attempt, chance)
