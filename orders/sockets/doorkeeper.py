"""Closes sockets whose API key or session holds no more: revoked, expired, logged out, or with other rights by now.

It admits only so many sockets of one API key, or person, and lets them follow only so many orders.

Keys that cancel on disconnect count as connected as long as this server has a socket of theirs.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterator, Set
from contextlib import contextmanager
from contextvars import Context
from typing import Protocol

import structlog
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.utils import timezone

from orders.access import keys
from orders.access.callers import Caller, Unauthorized, of_user
from orders.access.limits import TooManyFollows, TooManySockets
from orders.stores import connected
from orders.stores.threads import aside, one_per_loop
from routing.store import StoreError

log = structlog.get_logger(__name__)

EVERY_S = 0.5
PEOPLE_EVERY = 8
"""People are looked at in one of so many rounds: that takes queries."""


class Socket(Protocol):
    """An open socket."""

    caller: Caller | None

    @property
    def following(self) -> int:
        """Return how many orders it follows at its client's request, one for each name or `all`."""
        ...

    async def turn_away(self, reason: Exception) -> None:
        """Close it."""


class Leases:
    """Renews the leases of open sockets' keys, on a thread that nothing else in the server can hold up."""

    def __init__(self, open_sockets: Set[Socket]) -> None:
        self.open = open_sockets
        self.thread: threading.Thread | None = None
        self.deciding = threading.Lock()

    def keep(self) -> None:
        """Renew from now on, until no socket is open."""
        with self.deciding:
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, name="leases", daemon=True)
                self.thread.start()

    def run(self) -> None:
        while self.goes_on():
            # A copy, made at once: the event loop opens and closes sockets meanwhile.
            callers = [one.caller for one in tuple(self.open)]
            keys_now = {one.key for one in callers if one and one.key is not None and one.cancels_on_disconnect}
            try:
                connected.renew(keys_now)
            except StoreError as reason:
                log.warning("connected keys not renewed, will retry", reason=str(reason))
            except Exception:
                log.exception("connected keys not renewed, will retry")
            time.sleep(connected.RENEW_EVERY_S)

    def goes_on(self) -> bool:
        """Tell whether a socket is open; if not, the next one starts another thread."""
        with self.deciding:
            if not self.open:
                self.thread = None
            return bool(self.open)


Holder = tuple[int, int | None] | None
"""An account and its API key, if it uses one."""


def holder(socket: Socket) -> Holder:
    return (socket.caller.owner, socket.caller.key) if socket.caller else None


def name_of(socket: Socket) -> str:
    return socket.caller.name if socket.caller else "nobody"


class Doorkeeper:
    """Knows this server's open sockets, and looks at their keys."""

    def __init__(self) -> None:
        self.open: set[Socket] = set()
        self.admitted: dict[Holder, set[Socket]] = {}
        self.ending: dict[Socket, asyncio.Task[None]] = {}
        self.round: asyncio.Task[None] | None = None
        self.leases = Leases(self.open)

    @contextmanager
    def watching(self, socket: Socket) -> Iterator[None]:
        """Watch a socket while it is open."""
        self.open.add(socket)
        if self.round is None or self.round.done():
            # A fresh context: it is no part of the first socket's work.
            self.round = asyncio.create_task(self.go_round(), context=Context())
        self.leases.keep()
        try:
            yield
        finally:
            self.open.discard(socket)
            self.release(socket)

    def admit(self, socket: Socket) -> None:
        """Count a socket whose caller is known, until it is closed.

        Raises TooManySockets.
        """
        most, mine = settings.ENGINE_KEY_SOCKETS_MAX, self.those_of(socket)
        if len(mine) >= most:
            raise TooManySockets(f"{name_of(socket)} has {len(mine)} sockets open, of at most {most}; close some")
        mine.add(socket)
        self.admitted[holder(socket)] = mine

    def release(self, socket: Socket) -> None:
        mine = self.those_of(socket)
        mine.discard(socket)
        if not mine:
            self.admitted.pop(holder(socket), None)

    def let_follow(self, socket: Socket, count: int) -> None:
        """Have an admitted socket follow `count` orders from now on.

        Raises TooManyFollows.
        """
        most = settings.ENGINE_KEY_FOLLOWS_MAX
        others = sum(one.following for one in self.those_of(socket) if one is not socket)
        if count > socket.following and others + count > most:
            said = f"the sockets of {name_of(socket)} follow at most {most} orders at a time"
            raise TooManyFollows(f"{said}, not {others + count}; unfollow some")

    def those_of(self, socket: Socket) -> set[Socket]:
        """Return the open sockets of the same key or person."""
        return self.admitted.get(holder(socket), set())

    async def go_round(self) -> None:
        """Look at the open sockets' callers until none is open."""
        rounds = 0
        while self.open:
            await asyncio.sleep(EVERY_S)
            rounds += 1
            try:
                self.end((await keys.recent()).has_ended)
                if rounds % PEOPLE_EVERY == 0:
                    gone = await aside(no_longer, {one.caller for one in self.open if one.caller})
                    self.end(gone.__contains__)
            except DatabaseError as reason:
                # Streams go on while the database is away: nobody can have been turned away by it meanwhile.
                log.warning("callers not looked at, sockets stay open", reason=str(reason))
            except Exception:
                log.exception("callers not looked at, sockets stay open")

    def end(self, is_gone: Callable[[Caller], bool]) -> None:
        """Turn away the sockets of these callers, each by itself: one may not read what it is told."""
        for socket in self.open:
            if socket.caller and socket not in self.ending and is_gone(socket.caller):
                self.ending[socket] = asyncio.create_task(self.turn_away(socket), context=Context())

    async def turn_away(self, socket: Socket) -> None:
        try:
            await socket.turn_away(Unauthorized("the API key or the session holds no more"))
        finally:
            self.ending.pop(socket, None)


def no_longer(callers: Collection[Caller]) -> set[Caller]:
    """Return the people among these whose session is over, whose account is closed, or who may something else by now.

    Raises DatabaseError.
    """
    people = [one for one in callers if one.key is None]
    users = get_user_model().objects.in_bulk({one.owner for one in people})
    named = {one.session for one in people if one.session}
    sessions = set(Session.objects.filter(pk__in=named, expire_date__gt=timezone.now()).values_list("pk", flat=True))
    return {
        one
        for one in people
        if (user := users.get(one.owner)) is None
        or not user.is_active
        or (one.session and one.session not in sessions)
        or of_user(user).scopes != one.scopes
    }


@one_per_loop
def doorkeeper() -> Doorkeeper:
    """Return this server's doorkeeper."""
    return Doorkeeper()
