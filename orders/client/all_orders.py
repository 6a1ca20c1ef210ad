"""The stream of all orders, taken up again wherever it breaks, without what came before."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from .cursor import Cursor
from .event import Event
from .events import Message, Rewound, message_of
from .reading import Value, read
from .sockets import Broken, Line, messages

HELD_MAX = 100_000
"""Orders of which the last event is remembered; of one forgotten, events may be yielded again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached(Value):
    """Everything up to here has been yielded; `follow_all` goes on after it when it is given the cursor."""

    cursor: str


class Held:
    """The last event that was yielded of each order."""

    def __init__(self) -> None:
        self.last: dict[str, Cursor] = {}

    def news(self, message: Message) -> Iterator[Message]:
        """Yield a message unless it came before, after a rewind of which no message told."""
        known = self.last.get(message.order_id)
        at = Cursor(message.to if isinstance(message, Rewound) else message.seq, message.epoch)
        if known and isinstance(message, Rewound):
            if at.seq >= known.seq:
                return
        elif known and isinstance(message, Event):
            # Event 1 is the same in every epoch.
            if message.seq == 1 or (at.epoch, at.seq) <= (known.epoch, known.seq):
                return
            if at.seq <= known.seq:
                yield Rewound(order_id=message.order_id, to=at.seq - 1, epoch=at.epoch)
        self.hold(message.order_id, at)
        yield message

    def hold(self, order_id: str, at: Cursor) -> None:
        """Remember where an order is; the one of which nothing came for longest is forgotten first."""
        self.last.pop(order_id, None)
        self.last[order_id] = at
        if len(self.last) > HELD_MAX:
            del self.last[next(iter(self.last))]


async def follow_all(address: str, after: str | None, line: Line) -> AsyncGenerator[Message | Reached, None]:
    """Yield the events of all orders, each once and in sequence order by order, over any number of connections.

    Raises Refused, Unreadable, Unfinished.
    """
    held = Held()
    while True:
        asked = {"follow": "all"} if after is None else {"follow": "all", "after": after}
        try:
            async with aclosing(messages(address, line, asked)) as heard:
                async for data in heard:
                    line.well()
                    if "cursor" in data:
                        reached = read(Reached, data)
                        after = reached.cursor
                        yield reached
                    elif "orderId" in data:
                        for message in held.news(message_of(data)):
                            yield message
            raise Broken("the engine closed the socket")
        except Broken as reason:
            await line.missed(str(reason))
