"""How long to wait before another try."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Twice as long after each miss up to `max_s`, of which half is left to chance: clients must not come in step."""

    first_s: float = 0.1
    max_s: float = 2.0
    chance: Callable[[], float] = random.random

    def wait_s(self, misses: int) -> float:
        """Return the wait after the `misses`-th miss in a row, in seconds."""
        # An exponent past 20 is past any cap; bounding it keeps the number small.
        ceiling = min(self.max_s, self.first_s * 2.0 ** min(misses - 1, 20))
        return ceiling * (1 + self.chance()) / 2
