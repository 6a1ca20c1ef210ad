"""A client that follows an order by the rules of a socket: what it was told, from the first event on."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from engine.cursor import Cursor
from engine.lifecycle import FINAL
from orders.stores import event_codec, order_view

Event = dict[str, Any]
Complain = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Story:
    """What a client knows: its cursor, and the events that were told and not withdrawn."""

    cursor: Cursor = order_view.START
    events: tuple[Event, ...] = ()

    def going_on(self, found: order_view.History, complain: Complain) -> "Story":
        """Return the story with what was told now."""
        story = self.rewound(found, complain) if found.rewound else self
        for cursor, text in found.events:
            if cursor.seq != story.cursor.seq + 1 or (cursor.epoch or 0) < (story.cursor.epoch or 0):
                complain(f"a client at {story.cursor} was told {cursor}")
            story = Story(cursor, (*story.events, event_codec.load(text)))
        if found.finished and not is_over(story):
            complain(f"a client's stream ended with {story.events[-1:]}")
        return story

    def rewound(self, found: order_view.History, complain: Complain) -> "Story":
        """Return the story without what is withdrawn."""
        to = found.rewound
        assert to is not None
        is_back = (to.epoch or 0) < (self.cursor.epoch or 0)
        # Only what was told after an order's end is withdrawn by earlier events.
        if not 1 <= to.seq < self.cursor.seq or (is_back and not found.finished):
            complain(f"a client at {self.cursor} was rewound to {to}")
        return Story(to, tuple(event for event in self.events if event["seq"] <= to.seq))


def is_over(story: Story) -> bool:
    """Tell whether a story has its end."""
    return bool(story.events) and story.events[-1]["status"] in FINAL


@dataclass
class Follower:
    """Clients of one order: one that looks at every moment, one whose socket was closed with the first end it was told,
    and at every place where a client can have been one that leaves, to come back when all is over."""

    order_id: str
    complain: Complain
    story: Story = Story()
    closed: Story | None = None
    away: dict[Cursor, Story] = field(default_factory=dict)

    def look(self) -> None:
        """Hear what is new."""
        found = order_view.history(self.order_id, self.story.cursor)
        if found is None:
            self.complain("there is no such order any more")
            return
        self.story = self.story.going_on(found, self.complain)
        self.away.setdefault(self.story.cursor, self.story)
        if found.finished and self.closed is None:
            self.closed = self.story

    def all_told(self) -> list[Story]:
        """Have everybody come back; return what each knows."""
        self.look()
        return [replace(self, story=story, away={}).told_now() for story in self.away.values()]

    def told_now(self) -> Story:
        """Look once more; return what is known then."""
        self.look()
        return self.story
