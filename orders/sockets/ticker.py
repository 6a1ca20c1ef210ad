"""Market data for sockets: one reader per server process, for the pairs that are followed.

A follower always gets the complete view of its pair at one moment, never a difference. A slow follower skips views and
builds up no backlog.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import DatabaseError
from django.db.models import Max

from engine.events import moment
from engine.lifecycle import AttemptState
from engine.money import plain, price_of, shown
from engine.quotes import Pair
from orders.flow.pauses import Stop, pauses
from orders.models import Attempt
from orders.sockets.tail import told_to_stop
from orders.stores import book
from orders.stores.terms import epoch_ms
from orders.stores.threads import aside, one_per_loop
from routing import quotes
from routing.catalogue import catalogue
from routing.quotes import Cached
from routing.store import StoreError

log = structlog.get_logger(__name__)

EVERY_S = 0.25
"""How often the quote cache is read: twice as often as the venues are polled."""
FILLS_EVERY = 4
"""Fills are in Postgres, so they are read only once in this many rounds."""
BEAT_S = 5.0
"""Silence after which a follower gets the same view again: its client can tell a quiet market from a dead line."""
LEVELS_MAX = 40
FILLS_MAX = 50
ATTEMPTS_MAX = 2_000
"""Number of newest attempts, across all pairs, that are searched for fills."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """A pair at one moment: quotes and BEST, the nearest resting levels with their order counts, the last fills, and
    what is paused or halted."""

    cached: Cached
    levels: tuple[tuple[str, int], ...]
    fills: tuple[Json, ...]
    stops: tuple[Stop, ...]


class Ticker:
    """Reads the market data of the followed pairs, and wakes followers when it changes."""

    def __init__(self) -> None:
        self.followers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.latest: dict[str, View] = {}
        self.reader: asyncio.Task[None] | None = None

    async def follow(self, pair: Pair) -> AsyncGenerator[View, None]:
        """Yield the pair's view, and again whenever it has changed or BEAT_S have passed.

        Raises StoreError or DatabaseError if the first read fails; after that, the last known view stays.
        """
        with self.place(pair.name) as changed:
            if pair.name not in self.latest:
                self.take(await aside(look, [pair.name], {}))
            self.ensure_reading()
            while True:
                changed.clear()
                yield self.latest[pair.name]
                with suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_S):
                        await changed.wait()

    @contextmanager
    def place(self, pair: str) -> Iterator[asyncio.Event]:
        """Register an event that is set whenever the pair has changed."""
        changed = asyncio.Event()
        self.followers[pair].add(changed)
        try:
            yield changed
        finally:
            self.followers[pair].discard(changed)
            if not self.followers[pair]:
                del self.followers[pair]
                # The view is no longer kept up to date, so the next follower must not start with it.
                self.latest.pop(pair, None)

    def ensure_reading(self) -> None:
        """Start the reader unless it is running."""
        if self.reader is None or self.reader.done():
            # A fresh context: it reads for every socket, and must not log as the first one's.
            self.reader = asyncio.create_task(self.read_while_followed(), context=Context())

    async def read_while_followed(self) -> None:
        """Read while there are followers. If a store is down, retry; meanwhile the quotes' ages show the outage."""
        rounds = 0
        while self.followers and not told_to_stop():
            await asyncio.sleep(EVERY_S)
            rounds += 1
            known = {} if rounds % FILLS_EVERY == 0 else {name: view.fills for name, view in self.latest.items()}
            try:
                self.take(await aside(look, list(self.followers), known))
            except (StoreError, DatabaseError, OSError) as reason:
                log.warning("market data unreachable, will retry", reason=str(reason))
                await asyncio.sleep(1.0)

    def take(self, seen: Mapping[str, View]) -> None:
        """Keep the new views, and wake the followers of the pairs that have changed."""
        for name, view in seen.items():
            if name in self.followers and view != self.latest.get(name):
                self.latest[name] = view
                for changed in self.followers[name]:
                    changed.set()


def look(pairs: Sequence[str], known_fills: Mapping[str, tuple[Json, ...]]) -> dict[str, View]:
    """Read these pairs, and the fills of those without known fills.

    Raises StoreError, DatabaseError.
    """
    cached = quotes.cached(pairs)
    fresh = fills([name for name in pairs if name not in known_fills])
    stopped = pauses()
    return {
        name: View(
            cached[name],
            tuple(book.levels(name, LEVELS_MAX)),
            fresh[name] if name in fresh else known_fills[name],
            stopped.concerning(name),
        )
        for name in pairs
    }


def fills(pairs: Collection[str]) -> dict[str, tuple[Json, ...]]:
    """Return the last fills of each pair, newest first.

    Raises DatabaseError.
    """
    known = catalogue()
    named = {spelling: name for name in pairs for spelling in spellings(known.pair(name))}
    found: dict[str, list[Json]] = {name: [] for name in pairs}
    if not named:
        return {}
    newest = Attempt.objects.aggregate(newest=Max("pk"))["newest"] or 0
    rows = (
        Attempt.objects.filter(pk__gt=newest - ATTEMPTS_MAX, state=AttemptState.LANDED, order__pair__in=named)
        .select_related("order")
        .defer("raw", "trail")
        .order_by("-settled_at")[: FILLS_MAX * len(named)]
    )
    for row in rows:
        of_pair = found[named[row.order.pair]]
        if len(of_pair) < FILLS_MAX:
            of_pair.append(fill(row, known.pair(row.order.pair)))
    return {name: tuple(those) for name, those in found.items()}


def spellings(pair: Pair) -> tuple[str, str]:
    """Return the names under which a pair's orders may be stored: older ones predate the token's symbol."""
    return pair.name, f"{pair.token_in.symbol}-{pair.token_out.mint}"


def fill(row: Attempt, pair: Pair) -> Json:
    """Describe a landed attempt as a fill."""
    amount_in, amount_out = int(row.amount_in or row.order.amount_in), int(row.amount_out or 0)
    return {
        "txHash": row.signature,
        "at": moment(epoch_ms(row.settled_at or row.sent_at)),
        "venue": row.venue,
        "price": plain(price_of(amount_in, amount_out, pair.token_in, pair.token_out)),
        "amountIn": shown(amount_in, pair.token_in),
        "amountOut": shown(amount_out, pair.token_out),
    }


@one_per_loop
def ticker() -> Ticker:
    """Return this server's ticker."""
    return Ticker()
