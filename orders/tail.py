"""Events to sockets: one reader of the feed per server process, fanned out to its own sockets.

A message from the feed is a nudge, never the record: a follower that finds a gap, or hears nothing for a while, reads
the order's own events again.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import structlog
from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from orders import live, seen
from orders.aside import aside, one_per_loop
from routing.store import StoreError

log = structlog.get_logger(__name__)

BLOCK_MS = 2_000
REREAD_S = 10.0
"""Silence after which a follower looks for itself."""
RECONNECT_S = (0.1, 2.0)

Heard = tuple[int, bool, str]
"""seq, whether it is the last, the event's JSON"""


class UnknownOrder(Exception):
    """There is no such order."""


class Tail:
    """Reads the feed and hands each event to the followers of its order."""

    def __init__(self) -> None:
        self.followers: defaultdict[str, set[asyncio.Queue[Heard]]] = defaultdict(set)
        self.reader: asyncio.Task[None] | None = None

    async def follow(self, order_id: str, after: int = 0) -> AsyncGenerator[str, None]:
        """Yield the JSON of every event past `after`, once and in order; return after the last.

        Raises UnknownOrder.
        """
        self.ensure_reading()
        with self.inbox(order_id) as inbox:
            seq = after
            while True:
                past = await history(order_id, seq)
                for number, text in past.events:
                    seq = number
                    yield text
                if past.finished:
                    return
                async with aclosing(until_gap(inbox, seq)) as heard:
                    async for number, final, text in heard:
                        seq = number
                        yield text
                        if final:
                            return

    @contextmanager
    def inbox(self, order_id: str) -> Iterator["asyncio.Queue[Heard]"]:
        """Listen for an order's events from now on; what was said before must be read."""
        inbox: asyncio.Queue[Heard] = asyncio.Queue()
        self.followers[order_id].add(inbox)
        try:
            yield inbox
        finally:
            self.followers[order_id].discard(inbox)
            if not self.followers[order_id]:
                del self.followers[order_id]

    def ensure_reading(self) -> None:
        """Start the reader with the first follower."""
        if self.reader is None or self.reader.done():
            self.reader = asyncio.create_task(self.read_for_ever())

    async def read_for_ever(self) -> None:
        """Read the feed, reconnecting with backoff; what is missed meanwhile the followers find themselves."""
        wait = RECONNECT_S[0]
        while not told_to_stop():
            try:
                async with client() as redis:
                    position = await newest(redis)
                    # Whoever came before the position was known may have missed something.
                    self.ring()
                    while not told_to_stop():
                        position = await self.read(redis, position)
                        wait = RECONNECT_S[0]
            except (StoreError, OSError) as reason:
                # Connecting again is all there is to do; the followers read for themselves until then.
                log.warning("event feed unreachable, reconnecting", reason=str(reason), in_s=wait)
                await asyncio.sleep(wait)
                wait = min(RECONNECT_S[1], wait * 2)

    async def read(self, redis: "Redis", position: str) -> str:
        """Take what is new past `position` and hand it on; return the new position."""
        # protocol 2: [[stream, [[entry id, fields], ...]]]
        answer: Any = await redis.xread({live.FEED: position}, count=100, block=BLOCK_MS)
        for _, entries in answer or []:
            for entry_id, fields in entries:
                position = entry_id
                self.hand_on(fields.get("b", ""))
        return position

    def hand_on(self, batch: str) -> None:
        """Give each event of an entry to its order's followers."""
        for line in batch.split("\n"):
            order_id, _, rest = line.partition(" ")
            followers = self.followers.get(order_id)
            if followers:
                heard = read_line(rest)
                for inbox in followers:
                    inbox.put_nowait(heard)

    def ring(self) -> None:
        """Have every follower read for itself."""
        for inboxes in self.followers.values():
            for inbox in inboxes:
                inbox.put_nowait(RING)


def told_to_stop() -> bool:
    """Tell whether this task was cancelled: redis-py loses a cancellation that falls together with its time limits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


RING: Heard = (2**31, False, "")
"""A seq that is past any other, and so always a gap."""


def read_line(rest: str) -> Heard:
    """Read what follows the order id in a line of the feed; a line that says nothing sensible is a reason to look."""
    try:
        seq, final, text = rest.split(" ", 2)
        return int(seq), final == "1", text
    except ValueError:
        return RING


async def until_gap(inbox: "asyncio.Queue[Heard]", seq: int) -> AsyncGenerator[Heard, None]:
    """Yield events that follow one another from `seq`; end when it is time to look: a gap, or REREAD_S of silence."""
    while True:
        try:
            async with asyncio.timeout(REREAD_S):
                number, final, text = await inbox.get()
        except TimeoutError:
            return
        # A last event that was read before its status was, or that `after` lies beyond, is not news but the end.
        if number > seq + 1 or (final and number <= seq):
            return
        if number == seq + 1:
            seq = number
            yield number, final, text


async def history(order_id: str, after: int) -> seen.History:
    """Read an order's events.

    Raises UnknownOrder.
    """
    found = await aside(seen.history, order_id, after)
    if found is None:
        raise UnknownOrder(order_id)
    return found


async def newest(redis: "Redis") -> str:
    """Return the id of the feed's last entry."""
    entries = await redis.xrevrange(live.FEED, count=1)
    return str(entries[0][0]) if entries else "0-0"


def client() -> "Redis":
    """Connect for blocking reads: the socket's time limit is above the block's."""
    return Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        protocol=2,
        socket_timeout=BLOCK_MS / 1000 + 3,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),
    )


@one_per_loop
def tail() -> Tail:
    """Return this server's tail."""
    return Tail()
