"""Whether and when a failed try is tried again: a pure decision."""

from collections.abc import Callable

from engine.failures import Failure

BASE_MS = 250
CAP_MS = 10_000
AWAY_CAP_MS = 4_000
"""Longest wait for something that is away: short, so that orders go on soon after it is back."""


def delay_ms(attempt: int, chance: Callable[[], float]) -> int:
    """Return the wait before try `attempt + 1`, in milliseconds: exponential backoff with full jitter.

    `chance` returns a number in [0, 1).  Source: Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
    """
    # An exponent past 20 is past any cap; bounding it keeps the number small.
    ceiling = min(CAP_MS, BASE_MS * 2 ** min(attempt, 20))
    return int(ceiling * chance())


def away_ms(times: int, chance: Callable[[], float]) -> int:
    """Return the wait before another look at what is away, in milliseconds; `times` says how often it was in a row.

    Exponential, with equal jitter: at least half of it, since nothing is gained by asking at once.
    """
    ceiling = min(AWAY_CAP_MS, BASE_MS * 2 ** min(times, 20))
    return int(ceiling * (1 + chance()) / 2)


def decide(failure: Failure, attempt: int, max_attempts: int, chance: Callable[[], float]) -> int | None:
    """Return the wait in milliseconds before the next try, or None to give up."""
    if not failure.retryable or attempt >= max_attempts:
        return None
    return delay_ms(attempt, chance)
