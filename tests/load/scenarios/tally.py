"""What happens in a run: who takes the next order, how long things took, what went wrong.

One process keeps it: the checks compare what all of its clients received.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.load.scenarios.pace import Profile
from tests.load.scenarios.story import Story
from tests.load.scenarios.thresholds import Figures, p95

MOST_COMPLAINTS = 20
"""How many of the things that were wrong are told one by one."""


@dataclass(slots=True)
class Tally:
    """One run of a scenario; times by `clock`, in seconds."""

    profile: Profile
    clock: Callable[[], float] = time.monotonic
    stories: list[Story] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    taken: int = 0
    done: int = 0
    at_once: int = 0
    most_at_once: int = 0
    messages: int = 0
    posts_ms: list[float] = field(default_factory=list)
    finals_ms: list[float] = field(default_factory=list)
    lags_ms: list[float] = field(default_factory=list)
    begun: float = 0.0
    last_accepted: float = 0.0
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def take(self) -> tuple[int, float] | None:
        """Give out the next order's number and how long until it is due; none once all are given out."""
        if self.taken == self.profile.orders:
            return None
        if self.taken == 0:
            self.begun = self.last_accepted = self.clock()
        number, self.taken = self.taken, self.taken + 1
        return number, max(0.0, self.begun + self.profile.due_s(number) - self.clock())

    def start(self) -> None:
        """Count an order that is on its way."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)

    def finish(self) -> None:
        """Count an order that is no longer on its way."""
        self.at_once -= 1
        self.done += 1

    def accepted(self, story: Story, took_ms: float) -> None:
        """Keep an order that was acknowledged."""
        self.stories.append(story)
        self.posts_ms.append(took_ms)
        self.last_accepted = self.clock()

    @property
    def is_over(self) -> bool:
        """Tell whether every order asked for has come to its end, or was given up."""
        return self.done == self.profile.orders

    def figures(self) -> Figures:
        """Sum the run up."""
        profile = self.profile
        return Figures(
            asked=profile.orders,
            asked_per_minute=profile.orders_per_minute,
            accepted=len(self.stories),
            # The last order is due one step before the end of its time.
            seconds=max(profile.due_s(profile.orders), self.last_accepted - self.begun),
            ends=dict(Counter(story.status for story in self.stories if story.is_final)),
            wrong=len(self.complaints),
            lost=sum(not story.is_final for story in self.stories),
            most_at_once=self.most_at_once,
            post_p95_ms=p95(self.posts_ms),
            final_p95_ms=p95(self.finals_ms),
            messages=self.messages,
            lag_p95_ms=p95(self.lags_ms),
            what_was_wrong=self.complaints[:MOST_COMPLAINTS],
        )
