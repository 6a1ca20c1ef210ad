"""Closes sockets whose API key holds no more: it was revoked, or its time is over."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Protocol

import structlog
from django.db import DatabaseError

from orders.access import keys
from orders.access.callers import Caller, Unauthorized
from orders.stores.threads import one_per_loop

log = structlog.get_logger(__name__)

EVERY_S = 0.5


class Socket(Protocol):
    """An open socket."""

    caller: Caller | None

    async def turn_away(self, reason: Exception) -> None:
        """Close it."""


class Doorkeeper:
    """Knows this server's open sockets, and looks at their keys."""

    def __init__(self) -> None:
        self.open: set[Socket] = set()
        self.round: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, socket: Socket) -> Iterator[None]:
        """Watch a socket while it is open."""
        self.open.add(socket)
        if self.round is None or self.round.done():
            # A fresh context: it is no part of the first socket's work.
            self.round = asyncio.create_task(self.go_round(), context=Context())
        try:
            yield
        finally:
            self.open.discard(socket)

    async def go_round(self) -> None:
        """Look at the keys of the open sockets until none is open."""
        while self.open:
            await asyncio.sleep(EVERY_S)
            try:
                holding = (await keys.recent()).holding()
            except DatabaseError as reason:
                # Streams go on while the database is away: nobody can have been turned away by it meanwhile.
                log.warning("API keys not read, sockets stay open", reason=str(reason))
                continue
            by_key: defaultdict[int | None, list[Socket]] = defaultdict(list)
            for socket in self.open:
                by_key[socket.caller.key if socket.caller else None].append(socket)
            for key in by_key.keys() - holding - {None}:
                for socket in by_key[key]:
                    await socket.turn_away(Unauthorized("the API key was revoked or has expired"))


@one_per_loop
def doorkeeper() -> Doorkeeper:
    """Return this server's doorkeeper."""
    return Doorkeeper()
