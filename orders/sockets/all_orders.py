"""Every event of every order of one account, as a client that follows "all" gets them.

Two sources make one stream.  The feed has an event the moment it is made, but nothing to resume by, and a lost Redis
loses it.  The journal (orders/stores/journal.py) has every event within a second, and positions that clients resume by.
So events are sent as the feed brings them.  Whenever the journal has news, what it names and was not sent yet is read
and sent; then the client gets the cursor: everything up to there has been sent to it.

Per order the stream remembers the last event it sent.  It sends only the next one, reads the order's own history where
the next one is missing or a later epoch begins, and says `rewoundTo` before events that replace others.  Of an order
that it has sent nothing of, it sends the history from event 1, unless the journal says which event comes next.  So a
client that resumes may get events again; it drops those it has, by orderId, epoch and seq.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from dataclasses import replace

from engine.cursor import Cursor
from orders.sockets.accounts import LOOK
from orders.sockets.tail import Heard, UnknownOrder, history, read_line, rewound, tail
from orders.stores import event_codec, journal
from orders.stores.journal import Entry
from orders.stores.threads import aside

READING_WITHIN_S = 2.0
ENTRIES = 200
"""Journal entries per read."""
SENT_MAX = 20_000
"""Orders of which a stream remembers the last event; the one it has sent nothing of for longest is forgotten first."""


class Stream:
    """One client's stream."""

    def __init__(self, owner: int, after: int) -> None:
        self.owner, self.position = owner, after
        self.sent: dict[str, Cursor] = {}

    async def follow(self) -> AsyncGenerator[str, None]:
        """Yield messages for ever: events, rewinds and cursors.

        Raises Late, DatabaseError.
        """
        tail().ensure_reading()
        with tail().accounts.inbox(self.owner) as inbox:
            # What is made after the first cursor comes at once; while Redis is away, with the journal.
            with suppress(TimeoutError):
                await asyncio.wait_for(tail().reading.wait(), READING_WITHIN_S)
            yield self.cursor()
            async for text in self.catch_up():
                yield text
            while True:
                line = await inbox.get()
                news = self.catch_up() if line is LOOK else self.hear(line[0], read_line(line[1]))
                async for text in news:
                    yield text

    def cursor(self) -> str:
        return event_codec.dump({"cursor": str(self.position)})

    async def catch_up(self) -> AsyncGenerator[str, None]:
        """Yield what the journal names and was not sent, and the cursor behind it."""
        while found := await aside(journal.entries, self.owner, self.position, ENTRIES):
            missing = [self.to_read(entry) for entry in found if not self.covers(entry)]
            for event in await aside(journal.events, missing) if missing else ():
                for text in self.news(event["orderId"], Cursor(event["seq"], event["epoch"]), event_codec.dump(event)):
                    yield text
            self.position = found[-1].position
            yield self.cursor()

    def covers(self, entry: Entry) -> bool:
        """Tell whether all that an entry names has been sent."""
        sent = self.sent.get(entry.order_id)
        if sent is None or entry.last is None:
            return False
        return (sent.epoch or 0, sent.seq) >= (entry.epoch or 0, entry.last)

    def to_read(self, entry: Entry) -> Entry:
        """Return an entry that joins what was sent: the whole history, if this one does not."""
        sent = self.sent.get(entry.order_id)
        joins = sent is None or (sent.epoch == entry.epoch and sent.seq >= entry.first - 1)
        return entry if joins else replace(entry, first=1, last=None)

    async def hear(self, order_id: str, heard: Heard) -> AsyncGenerator[str, None]:
        """Yield an event of the feed, or what the order's history has if it is not the next one."""
        sent, at = self.sent.get(order_id, Cursor(0, heard.cursor.epoch)), heard.cursor
        if at == Cursor(sent.seq + 1, sent.epoch):
            for text in self.news(order_id, at, heard.text):
                yield text
        elif not self.has(order_id, at):
            try:
                past = await history(order_id, Cursor())
            except UnknownOrder:
                return
            for cursor, text in past.events:
                for one in self.news(order_id, cursor, text):
                    yield one

    def has(self, order_id: str, at: Cursor) -> bool:
        """Tell whether this event has been sent, or one that replaced it; event 1 is the same in every epoch."""
        sent = self.sent.get(order_id)
        if sent is None:
            return False
        known, epoch = sent.epoch or 0, at.epoch or 0
        return at.seq == 1 or epoch < known or (epoch == known and at.seq <= sent.seq)

    def news(self, order_id: str, at: Cursor, text: str) -> Iterator[str]:
        """Yield an event if it was not sent, after a rewind if it replaces one that was."""
        if self.has(order_id, at):
            return
        sent = self.sent.pop(order_id, None)
        if sent and at.seq <= sent.seq:
            yield rewound(order_id, Cursor(at.seq - 1, at.epoch))
        self.sent[order_id] = at
        if len(self.sent) > SENT_MAX:
            del self.sent[next(iter(self.sent))]
        yield text
