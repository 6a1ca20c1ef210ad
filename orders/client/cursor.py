"""Where a client stands in an order's history, and where each message takes it."""

from collections.abc import Mapping
from dataclasses import dataclass

from .event import Event
from .events import Message, Rewound


class OutOfStep(Exception):
    """The message does not follow what the client has: the engine must be asked what does."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last event a client has: its seq, 0 before the first, and its epoch, 0 for the oldest."""

    seq: int = 0
    epoch: int = 0

    @property
    def query(self) -> Mapping[str, int]:
        """Return the parameters that ask for what comes after it; 0 is what the engine assumes without."""
        asked = {"after": self.seq, "epoch": self.epoch}
        return {name: value for name, value in asked.items() if value}

    def past(self, message: Message) -> "Cursor":
        """Return where the client stands after a message; one that brings nothing new leaves `seq` as it is.

        Raises OutOfStep for an event that is not the next, or that came again out of a history this client was not told
        of.
        """
        match message:
            case Rewound():
                return Cursor(min(self.seq, message.to), message.epoch)
            case Event() if message.seq == self.seq + 1:
                return Cursor(message.seq, message.epoch)
            case Event() if message.seq > self.seq:
                raise OutOfStep(f"event {message.seq} came after event {self.seq}")
            # Epochs never fall along one history: what the client has up to here must have been replaced.
            case Event() if message.epoch > self.epoch:
                raise OutOfStep(f"event {message.seq} came again in epoch {message.epoch}, after epoch {self.epoch}")
        return self
