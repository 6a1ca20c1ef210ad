"""What a client knows of an order: where it stands, and from where to go on."""

from dataclasses import dataclass
from typing import Any

from tests.chaos.clients.journal import Journal

FINAL = frozenset({"confirmed", "failed", "cancelled", "expired"})


@dataclass
class Story:
    """One follower's place in one order's events."""

    journal: Journal
    follower: str
    order_id: str
    seq: int = 0
    epoch: int | None = None
    status: str = ""
    heard: int = 0

    def __post_init__(self) -> None:
        self.journal.write("follow", follower=self.follower, order=self.order_id)

    @property
    def ended(self) -> bool:
        """Whether the last it heard was the end."""
        return self.status in FINAL

    def take(self, message: dict[str, Any]) -> None:
        """Write a message down and go on from there."""
        self.journal.write("told", follower=self.follower, order=self.order_id, message=message)
        self.heard += 1
        if "rewoundTo" in message:
            self.seq, self.status = int(message["rewoundTo"]), ""
        elif "seq" in message:
            self.seq, self.status = int(message["seq"]), str(message["status"])
        self.epoch = message.get("epoch", self.epoch)

    @property
    def place(self) -> dict[str, int]:
        """Where to go on: what a client names when it comes back."""
        return {"after": self.seq} | ({} if self.epoch is None else {"epoch": self.epoch})
