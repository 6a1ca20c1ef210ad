"""Read the messages of an order's stream."""

from dataclasses import dataclass, field
from typing import Any

from .errors import Unreadable
from .event import Event
from .event_kinds import KINDS
from .reading import Value, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound(Value):
    """The engine lost what it had told past event `to`: drop those events, others follow event `to` in their place."""

    order_id: str
    to: int = field(metadata={"spelled": "rewoundTo"})
    epoch: int
    reason: str = ""


Message = Event | Rewound
"""What a stream of an order's events yields."""


def message_of(data: Any) -> Message:
    """Read a message of an order's stream.

    Raises Unreadable.
    """
    return read(Rewound, data) if "rewoundTo" in data else event_of(data)


def event_of(data: Any) -> Event:
    """Read an event; one of a kind or a shape that came after this client keeps its facts as they are.

    Raises Unreadable for what is no event at all.
    """
    event = read(Event, data)
    try:
        return read(KINDS.get(event.kind, Event), data)
    except Unreadable:
        return event
