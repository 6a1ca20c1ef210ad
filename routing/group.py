"""Read a Redis stream through a consumer group: at-least-once delivery, even if a reader or Redis fails."""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from redis.exceptions import ResponseError

from routing.crashpoints import Store, step
from routing.store import redis

log = structlog.get_logger(__name__)

ENTRIES = 200
"""Entries per read."""
TAKE_OVER_MS = 10_000
"""How long an entry may stay unacknowledged before another reader takes it over."""
TAKE_OVER_EVERY_S = 1.0

Entry = tuple[str, dict[str, str]]
"""One entry of a stream: its id and its fields."""


def me() -> str:
    """Return this process's reader name; computed at each use, because modules are loaded before processes fork."""
    return f"{socket.gethostname()}-{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Group:
    """The consumer group `name` of `stream`; its readers share the entries from the first one on."""

    stream: str
    name: str

    def take_over(self, reader: str) -> None:
        """Take over what other readers left unacknowledged for TAKE_OVER_MS; look at most every TAKE_OVER_EVERY_S."""
        if time.monotonic() - looked_at.get((self, reader), float("-inf")) < TAKE_OVER_EVERY_S:
            return
        looked_at[self, reader] = time.monotonic()
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
                log.warning("entries claimed from a silent reader", stream=self.stream, entries=len(taken))
            if start == "0-0":
                return

    def read(self, reader: str, after: str) -> list[Entry]:
        """Return the reader's own unacknowledged entries after this id, or new entries for `>`."""
        while True:
            try:
                answer = redis().xreadgroup(self.name, reader, {self.stream: after}, count=ENTRIES)
            except ResponseError as reason:
                refuse_unless_emptied(reason)
                self.ensure()
            else:
                entries: list[Entry] = answer[0][1] if answer else []  # type: ignore[index, assignment]
                return entries

    @step("acknowledge", Store.REDIS, "the stream's entries are acknowledged")
    def ack(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge these entries.  Idempotent."""
        if entry_ids:
            redis().xack(self.stream, self.name, *entry_ids)

    def ensure(self) -> None:
        """Create the group at the beginning of the stream, if the stream is new or Redis was emptied."""
        try:
            redis().xgroup_create(self.stream, self.name, id="0", mkstream=True)
        except ResponseError as reason:
            if "BUSYGROUP" not in str(reason):
                raise


looked_at: dict[tuple[Group, str], float] = {}
"""When each reader last looked for entries to take over."""


def refuse_unless_emptied(reason: ResponseError) -> None:
    """Ignore a missing group, which means that Redis was emptied.  Raises any other error."""
    if "NOGROUP" not in str(reason) and "no such key" not in str(reason):
        raise reason
