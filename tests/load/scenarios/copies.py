"""The same messages on many sockets: each socket must get every one of them, once, in order, and letter by letter."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.load.scenarios.story import Json, Story, Wrong


@dataclass(slots=True)
class Copies:
    """What all sockets together have received; times by `clock`, in seconds."""

    clock: Callable[[], float] = time.monotonic
    first: dict[tuple[str, int], tuple[str, float]] = field(default_factory=dict)
    """By order and seq: the message as it first came, and when."""

    def compare(self, text: str, data: Json) -> float:
        """Take a message and return how many ms after its first copy it came.

        Raises Wrong when it is not that copy.
        """
        key, now = (data["orderId"], data["seq"]), self.clock()
        known, at = self.first.setdefault(key, (text, now))
        if known != text:
            raise Wrong(f"order {key[0]}: message {key[1]} is {text!r:.300} on one socket, {known!r:.300} on another")
        return (now - at) * 1000


@dataclass(slots=True)
class Progress:
    """What one socket that follows many orders has been told."""

    name: str
    seqs: dict[str, int] = field(default_factory=dict)

    def take(self, data: Json) -> None:
        """Take a message.

        Raises Wrong unless it is the next of its order.
        """
        due = self.seqs.get(data["orderId"], 0) + 1
        if data["seq"] != due:
            raise Wrong(f"{self.name}: seq {data['seq']} of order {data['orderId']} where {due} was due")
        self.seqs[data["orderId"]] = due

    def lacks(self, stories: Sequence[Story]) -> list[str]:
        """Name the orders of which this socket was not told everything."""
        return [story.order_id for story in stories if self.seqs.get(story.order_id, 0) != story.seq]


def joined_late(story: Story, after: int, texts: Sequence[str]) -> None:
    """Check what a client got that knew the order up to `after`.

    Raises Wrong unless it is exactly what it lacked.
    """
    if list(texts) != story.texts[after:]:
        raise story.wrong(f"a client that knew it up to {after} got {list(texts)!r:.400}")
