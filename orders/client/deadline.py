"""A time by which something must have come."""

import asyncio
from dataclasses import dataclass

from .errors import Unfinished


def now() -> float:
    """Return the running loop's clock, in seconds."""
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Deadline:
    """A moment on the running loop's clock, none for as long as it takes; remembers the last trouble."""

    at: float | None
    trouble: str = ""

    @classmethod
    def within(cls, seconds: float | None) -> "Deadline":
        """Make one so far ahead."""
        return cls(None if seconds is None else now() + seconds)

    @property
    def left_s(self) -> float | None:
        """Return the seconds that are left, at least 0; none when there is no limit."""
        return None if self.at is None else max(0.0, self.at - now())

    @property
    def over(self) -> bool:
        """Tell whether it has passed."""
        return self.left_s == 0.0

    def check(self) -> None:
        """Return while there is time.

        Raises Unfinished.
        """
        if self.over:
            raise Unfinished(self.trouble)

    def by(self, seconds: float) -> float:
        """Return the earlier of so far ahead and this, on the loop's clock."""
        ahead = now() + seconds
        return ahead if self.at is None else min(ahead, self.at)

    async def rest(self, seconds: float) -> None:
        """Wait, but not past it."""
        await asyncio.sleep(self.by(seconds) - now())
