"""Reading a Redis stream through a consumer group: each entry at least once, whichever reader or store dies."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from redis.exceptions import ResponseError

from routing.crashpoints import Store, step
from routing.store import redis

log = structlog.get_logger(__name__)

ENTRIES = 200
"""Entries of one round."""
TAKE_OVER_MS = 10_000
"""How long an entry may stay with a reader that does not finish it."""

Entry = tuple[str, dict[str, str]]
"""One entry of a stream: its id and its fields."""


def me() -> str:
    """Name this process as a reader; asked at each use, since modules are loaded before processes fork."""
    return f"{socket.gethostname()}-{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Group:
    """The group `name` of readers of `stream`, who share its entries from the first one on."""

    stream: str
    name: str

    def take_over(self, reader: str) -> None:
        """Make the entries of readers that do not finish them this one's."""
        start = "0-0"
        while True:
            self.ensure()
            try:
                start, taken, *_ = redis().xautoclaim(
                    self.stream, self.name, reader, TAKE_OVER_MS, start, count=ENTRIES
                )
            except ResponseError as reason:
                refuse_unless_emptied(reason)
                return
            if taken:
                log.warning("entries taken over", stream=self.stream, entries=len(taken))
            if start == "0-0":
                return

    def read(self, reader: str, after: str) -> list[Entry]:
        """Return entries: the reader's own unacknowledged ones after that id, or new ones for `>`."""
        while True:
            try:
                answer = redis().xreadgroup(self.name, reader, {self.stream: after}, count=ENTRIES)
            except ResponseError as reason:
                refuse_unless_emptied(reason)
                self.ensure()
            else:
                entries: list[Entry] = answer[0][1] if answer else []  # type: ignore[index, assignment]
                return entries

    @step("acknowledge", Store.REDIS, "the stream's entries are done with")
    def ack(self, entry_ids: Sequence[str]) -> None:
        """Note that these entries are done with; harmless twice."""
        if entry_ids:
            redis().xack(self.stream, self.name, *entry_ids)

    def ensure(self) -> None:
        """Create the group, at the stream's beginning, when the stream is new or was emptied."""
        try:
            redis().xgroup_create(self.stream, self.name, id="0", mkstream=True)
        except ResponseError as reason:
            if "BUSYGROUP" not in str(reason):
                raise


def refuse_unless_emptied(reason: ResponseError) -> None:
    """Let the absence of the group pass: Redis was emptied under us.  Raises any other reason."""
    if "NOGROUP" not in str(reason) and "no such key" not in str(reason):
        raise reason
