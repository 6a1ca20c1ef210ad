"""Between threads and event loops: blocking work from a loop, and objects that belong to one loop.

Blocking work runs on threads of our own, whose database connections go back to the pool at once; Channels and Django
would share one thread per process among all of it.  Readers share a few threads and the pool.  What acceptance needs
runs on threads that have connections of their own, so that no number of readers can keep an order waiting.
"""

import asyncio
import os
import select
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

from django.db import DEFAULT_DB_ALIAS, Error, OperationalError, close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

THREADS = 4
WITHIN_S = 10.0
"""How long a call may take, with the time it waits for a thread."""

P = ParamSpec("P")
R = TypeVar("R")


class Late(OperationalError):
    """A call took longer than it may; whether it did what it was to do is not known."""


@cache
def threads() -> ThreadPoolExecutor:
    """Return the threads that readers share."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="aside")


async def aside(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a blocking function on a thread, within this task's log context, and return what it returns.

    Raises Late.
    """

    def run() -> R:
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    try:
        async with asyncio.timeout(WITHIN_S) as limit:
            return await asyncio.get_running_loop().run_in_executor(threads(), copy_context().run, run)
    except TimeoutError as reason:
        raise late(WITHIN_S) if limit.expired() else reason from None


def late(after_s: float) -> Late:
    """Say how long was waited."""
    return Late(f"no answer within {after_s:g} s")


class OwnThread:
    """One thread with a database connection of its own, in no pool: nobody else can take it.

    A call that hangs, on a server that is frozen, is cut off, and the thread goes on with the next.
    """

    def __init__(self, name: str) -> None:
        self.pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self.database: BaseDatabaseWrapper | None = None
        self.running: object = None
        """The call that the thread is at."""

    async def run(self, within_s: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking function within this task's log context, and return what it returns.

        Raises Late.
        """
        call = object()

        def run() -> R:
            self.running = call
            try:
                self.renew_connection()
                return function(*args, **kwargs)
            finally:
                self.running = None

        try:
            async with asyncio.timeout(within_s) as limit:
                return await asyncio.get_running_loop().run_in_executor(self.pool, copy_context().run, run)
        except TimeoutError as reason:
            if not limit.expired():
                raise
            if self.running is call:
                self.hang_up()
            raise late(within_s) from reason

    def renew_connection(self) -> None:
        """Have a connection of this thread's own, and not one that the server has ended since."""
        if self.database is None:
            self.database = connections[DEFAULT_DB_ALIAS] = own_connection()
        self.database.close_if_unusable_or_obsolete()
        # Half the cost of a group would be a question to the server; its parting word needs no question.
        if self.database.connection is not None and has_news(self.database) and not self.database.is_usable():
            self.database.close()

    def hang_up(self) -> None:
        """Cut the connection, whoever waits on it: the wait ends with an error."""
        raw = self.database and self.database.connection
        if raw:
            with suppress(OSError, Error, raw.Error), socket.socket(fileno=os.dup(raw.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)


def own_connection() -> BaseDatabaseWrapper:
    """Make a connection that is in no pool and stays open; it connects when it is first used."""
    made: BaseDatabaseWrapper = connections.create_connection(DEFAULT_DB_ALIAS)
    options: dict[str, Any] = {name: value for name, value in made.settings_dict["OPTIONS"].items() if name != "pool"}
    made.settings_dict = {
        **made.settings_dict,
        "OPTIONS": options,
        "CONN_MAX_AGE": None,
        # `has_news` sees a connection that has ended.
        "CONN_HEALTH_CHECKS": False,
    }
    return made


def has_news(database: BaseDatabaseWrapper) -> bool:
    """Tell whether the server has said something unasked, such as that it ends the connection."""
    poll = select.poll()
    poll.register(database.connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def one_per_loop(make: Callable[[], R]) -> Callable[[], R]:
    """Have `make` called once for each event loop.

    A server has one; tests have many, and none may meet another's tasks.
    """
    made: dict[asyncio.AbstractEventLoop, R] = {}

    @wraps(make)
    def get() -> R:
        loop = asyncio.get_running_loop()
        if loop not in made:
            for old in [old for old in made if old.is_closed()]:
                del made[old]
            made[loop] = make()
        return made[loop]

    return get
