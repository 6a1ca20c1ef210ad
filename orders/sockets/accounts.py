"""Feed lines and journal news by account, for the sockets that follow all orders of one."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from typing import TYPE_CHECKING

import structlog
from django.db import DatabaseError

from orders.stores import journal, live
from orders.stores.threads import aside

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5
"""How often the journal is asked for news, once for all sockets of this server."""
INBOX_MAX = 10_000
"""Lines that wait for one socket; what comes on top it reads from the journal."""
OWNERS_MAX = 50_000
"""Orders whose accounts are remembered; beyond it all are forgotten and asked for again."""

NOBODY = 0
"""The account of an order that has none, or whose account is not known here; no account has this id."""

Line = tuple[str, str]
"""An order's id, and the rest of its line in the feed."""
LOOK: Line = ("", "")
"""The journal has news."""
Inbox = asyncio.Queue[Line]


class Accounts:
    """The inboxes of this server's sockets that follow all orders of an account."""

    def __init__(self) -> None:
        self.inboxes: defaultdict[int, set[Inbox]] = defaultdict(set)
        self.owners: dict[str, int] = {}
        self.watcher: asyncio.Task[None] | None = None

    @contextmanager
    def inbox(self, owner: int) -> Iterator[Inbox]:
        """Collect an account's lines from now on."""
        inbox: Inbox = asyncio.Queue()
        self.inboxes[owner].add(inbox)
        if self.watcher is None or self.watcher.done():
            # A fresh context: it looks for every socket, and must not log as the first one's.
            self.watcher = asyncio.create_task(self.watch(), context=Context())
        try:
            yield inbox
        finally:
            self.inboxes[owner].discard(inbox)
            if not self.inboxes[owner]:
                del self.inboxes[owner]

    async def hand_on(self, redis: "Redis", batches: Iterable[str]) -> None:
        """Put each line of the feed into the inboxes of its order's account.

        Raises StoreError.
        """
        if not self.inboxes:
            return
        parts = [line.partition(" ") for batch in batches for line in batch.split("\n")]
        lines = [(order_id, rest) for order_id, _, rest in parts]
        await self.learn(redis, [order_id for order_id, _ in lines if order_id not in self.owners])
        for order_id, rest in lines:
            for inbox in self.inboxes.get(self.owners.get(order_id, NOBODY), ()):
                if inbox.qsize() < INBOX_MAX:
                    inbox.put_nowait((order_id, rest))

    async def learn(self, redis: "Redis", order_ids: Sequence[str]) -> None:
        """Find out whose these orders are; the lines of one that Redis does not know follow from the journal."""
        if not order_ids:
            return
        if len(self.owners) > OWNERS_MAX:
            self.owners.clear()
        found = await live.owners(redis, list(dict.fromkeys(order_ids)))
        self.owners |= {order_id: owner for order_id, owner in found.items() if owner is not None}

    async def watch(self) -> None:
        """Tell sockets of news in the journal, until there are none."""
        position: int | None = None
        while self.inboxes:
            try:
                if position is None:
                    _, position = await aside(journal.bounds)
                    self.tell(list(self.inboxes))
                else:
                    news = await aside(journal.news, position)
                    position = max([position, *news.values()])
                    self.tell(news)
            except DatabaseError as reason:
                log.warning("journal not read, streams of all orders may wait", reason=str(reason))
            await asyncio.sleep(LOOK_EVERY_S)

    def tell(self, owners: Iterable[int]) -> None:
        """Have the sockets of these accounts look at the journal."""
        for owner in owners:
            for inbox in self.inboxes.get(owner, ()):
                inbox.put_nowait(LOOK)
