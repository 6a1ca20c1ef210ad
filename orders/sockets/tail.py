"""Event feed for sockets: one reader per server process, which fans events out to the process's own sockets.

A message from the feed is a hint, never the record: a follower that finds a gap, or receives nothing for a while, reads
the order's own events again.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from engine.cursor import Cursor
from orders.sockets.accounts import Accounts
from orders.stores import event_codec, live, order_view
from orders.stores.threads import aside, one_per_loop
from routing.store import StoreError

log = structlog.get_logger(__name__)

BLOCK_MS = 2_000
REREAD_S = 10.0
"""Silence after which a follower reads its order's events again."""
READ_MAX = 100
"""Orders whose events are read at once."""
RECONNECT_S = (0.1, 2.0)


@dataclass(frozen=True, slots=True)
class Heard:
    """One event of an order from the feed: its cursor, whether it is the last, and its JSON."""

    cursor: Cursor
    final: bool
    text: str


class UnknownOrder(Exception):
    """There is no such order."""


class Tail:
    """Reads the feed and hands each event to the followers of its order."""

    def __init__(self) -> None:
        self.followers: defaultdict[str, set[asyncio.Queue[Heard]]] = defaultdict(set)
        self.reader: asyncio.Task[None] | None = None
        self.accounts = Accounts()
        self.reading = asyncio.Event()
        """Set while every event made from now on is handed on."""

    async def follow(
        self, order_id: str, sees: Callable[[int | None], bool], after: Cursor = order_view.START
    ) -> AsyncGenerator[str, None]:
        """Yield the JSON of every event past `after`, once and in order; return after the last.

        `sees` tells whether an account's orders exist for whoever asks.

        If events up to `after` no longer belong to the order, a rewind message comes first.
        Raises UnknownOrder.
        """
        self.ensure_reading()
        with self.inbox(order_id) as inbox:
            at = after
            while True:
                past = await history(order_id, at)
                if not sees(past.owner):
                    raise UnknownOrder(order_id)
                if past.rewound:
                    at = past.rewound
                    yield rewound(order_id, at)
                for cursor, text in past.events:
                    at = cursor
                    yield text
                if past.finished:
                    return
                async with aclosing(until_gap(inbox, at)) as heard:
                    async for one in heard:
                        at = one.cursor
                        yield one.text
                        if one.final:
                            return

    @contextmanager
    def inbox(self, order_id: str) -> Iterator["asyncio.Queue[Heard]"]:
        """Collect an order's events from now on; earlier ones must be read."""
        inbox: asyncio.Queue[Heard] = asyncio.Queue()
        self.followers[order_id].add(inbox)
        try:
            yield inbox
        finally:
            self.followers[order_id].discard(inbox)
            if not self.followers[order_id]:
                del self.followers[order_id]

    def ensure_reading(self) -> None:
        """Start the reader unless it is running."""
        if self.reader is None or self.reader.done():
            # A fresh context: it reads for every socket, and must not log as the first one's.
            self.reader = asyncio.create_task(self.read_for_ever(), context=Context())

    async def read_for_ever(self) -> None:
        """Read the feed, reconnecting with backoff. Followers detect and read missed events."""
        wait = RECONNECT_S[0]
        while not told_to_stop():
            try:
                async with client() as redis:
                    position = await newest(redis)
                    self.reading.set()
                    # Followers that arrived before the position was known may have missed events.
                    self.ring()
                    while not told_to_stop():
                        position = await self.read(redis, position)
                        wait = RECONNECT_S[0]
            except (StoreError, OSError) as reason:
                self.reading.clear()
                # Reconnecting is enough: until then, each follower reads its order's own events.
                log.warning("event feed unreachable, reconnecting", reason=str(reason), in_s=wait)
                await asyncio.sleep(wait)
                wait = min(RECONNECT_S[1], wait * 2)

    async def read(self, redis: "Redis", position: str) -> str:
        """Read the entries past `position` and hand them on; return the new position."""
        # protocol 2: [[stream, [[entry id, fields], ...]]]
        answer: Any = await redis.xread({live.FEED: position}, count=100, block=BLOCK_MS)
        for _, entries in answer or []:
            for entry_id, fields in entries:
                position = entry_id
                self.hand_on(fields.get("b", ""))
            await self.accounts.hand_on(redis, [fields.get("b", "") for _, fields in entries])
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
        """Make every follower read its order's own events."""
        for inboxes in self.followers.values():
            for inbox in inboxes:
                inbox.put_nowait(RING)


def told_to_stop() -> bool:
    """Tell whether this task was cancelled: redis-py loses a cancellation that coincides with one of its timeouts."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


RING = Heard(Cursor(2**31, 2**31), False, "")
"""A seq beyond any other, so always a gap."""


def rewound(order_id: str, to: Cursor) -> str:
    """Return the message that withdraws every event after `to`."""
    return event_codec.dump({"orderId": order_id, "rewoundTo": to.seq, "epoch": to.epoch, "reason": REWOUND})


REWOUND = "Redis was lost before the events after this one were saved; what follows takes their place"


def read_line(rest: str) -> Heard:
    """Parse the part of a feed line after the order id; a malformed line counts as a gap."""
    try:
        _, final, text = rest.split(" ", 2)
        text = event_codec.current(text)
        return Heard(order_view.cursor_of(text), final == "1", text)
    except (ValueError, KeyError, msgspec.DecodeError):
        return RING


async def until_gap(inbox: "asyncio.Queue[Heard]", at: Cursor) -> AsyncGenerator[Heard, None]:
    """Yield consecutive events after `at`; end when the order's own events must be read again.

    That is at a gap, at an event of a later epoch than those seen, or after REREAD_S of silence.
    """
    while True:
        try:
            async with asyncio.timeout(REREAD_S):
                heard = await inbox.get()
        except TimeoutError:
            return
        seq, epoch, known = heard.cursor.seq, heard.cursor.epoch or 0, at.epoch or 0
        if at.seq and epoch < known:
            continue
        # A final event at or before `at` is not new, but an end: it was read before its status, or `at` is past it.
        if seq > at.seq + 1 or (heard.final and seq <= at.seq) or (at.seq and epoch > known):
            return
        if seq == at.seq + 1:
            at = heard.cursor
            yield heard


class Histories:
    """Reads live orders' events for sockets: what is asked for while one read is under way is the next one."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, Cursor], asyncio.Future[order_view.History | None]]] = []
        self.reading: asyncio.Task[None] | None = None

    async def read(self, order_id: str, after: Cursor) -> order_view.History | None:
        """Read one order's events; None if Redis does not have it.

        Raises Late.
        """
        answer: asyncio.Future[order_view.History | None] = asyncio.get_running_loop().create_future()
        self.asked.append(((order_id, after), answer))
        if self.reading is None or self.reading.done():
            # A fresh context: it reads for many sockets, and must not log as the first one's.
            self.reading = asyncio.create_task(self.read_all(), context=Context())
        return await answer

    async def read_all(self) -> None:
        """Read until nothing is asked for."""
        while self.asked:
            group, self.asked = self.asked[:READ_MAX], self.asked[READ_MAX:]
            try:
                found = await aside(order_view.live_histories, [one for one, _ in group])
            except Exception as reason:
                refuse([answer for _, answer in group], reason)
            else:
                for (_, answer), one in zip(group, found, strict=True):
                    if not answer.done():
                        answer.set_result(one)


def refuse(answers: Iterable["asyncio.Future[Any]"], reason: Exception) -> None:
    """Give everyone who still waits the reason why nothing was read."""
    for answer in answers:
        if not answer.done():
            answer.set_exception(reason)


@one_per_loop
def histories() -> Histories:
    return Histories()


async def history(order_id: str, after: Cursor) -> order_view.History:
    """Read an order's events: from Redis, or alone from Postgres, where one slow read must not delay others.

    Raises UnknownOrder, Late, DatabaseError.
    """
    found = await histories().read(order_id, after) or await aside(order_view.archived, order_id, after)
    if found is None:
        raise UnknownOrder(order_id)
    return found


async def newest(redis: "Redis") -> str:
    """Return the id of the feed's last entry."""
    entries = await redis.xrevrange(live.FEED, count=1)
    return str(entries[0][0]) if entries else "0-0"


def client() -> "Redis":
    """Connect for blocking reads: the socket timeout is longer than the block."""
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
