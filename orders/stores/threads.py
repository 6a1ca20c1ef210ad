"""Run blocking work from an event loop, and keep one object per event loop.

Blocking work runs on our own threads, whose database connections return to the pool at once; Channels and Django would
run all of it on one shared thread per process.  Readers share a few threads and the pool.  Order acceptance runs on
threads with their own connections, so that no number of readers can delay an order.
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
"""How long a call may take, including the wait for a thread."""

P = ParamSpec("P")
R = TypeVar("R")


class Late(OperationalError):
    """A call timed out; whether it took effect is unknown."""


@cache
def threads() -> ThreadPoolExecutor:
    """Return the thread pool that readers share."""
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
    return Late(f"no answer within {after_s:g} s")


class OwnThread:
    """One thread with its own database connection, outside the pool, so that no other caller can take it.

    A call that hangs on a frozen server is cut off, and the thread continues with the next call.
    """

    def __init__(self, name: str) -> None:
        self.pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self.database: BaseDatabaseWrapper | None = None
        self.running: object = None
        """The call that the thread is running."""

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
        """Ensure that this thread has its own connection, and replace one that the server has closed."""
        if self.database is None:
            self.database = connections[DEFAULT_DB_ALIAS] = own_connection()
        self.database.close_if_unusable_or_obsolete()
        # A query to check the connection would be half the cost of a batch.  A server that closes the connection sends
        # a notice, which is visible without a query.
        if self.database.connection is not None and has_news(self.database) and not self.database.is_usable():
            self.database.close()

    def hang_up(self) -> None:
        """Shut the connection down; a call blocked on it then fails with an error."""
        raw = self.database and self.database.connection
        if raw:
            with suppress(OSError, Error, raw.Error), socket.socket(fileno=os.dup(raw.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)


def own_connection() -> BaseDatabaseWrapper:
    """Create a connection outside the pool that stays open; it connects on first use."""
    made: BaseDatabaseWrapper = connections.create_connection(DEFAULT_DB_ALIAS)
    options: dict[str, Any] = {name: value for name, value in made.settings_dict["OPTIONS"].items() if name != "pool"}
    made.settings_dict = {
        **made.settings_dict,
        "OPTIONS": options,
        "CONN_MAX_AGE": None,
        # `has_news` detects a closed connection.
        "CONN_HEALTH_CHECKS": False,
    }
    return made


def has_news(database: BaseDatabaseWrapper) -> bool:
    """Tell whether unsolicited data from the server is waiting, such as a notice that it closes the connection."""
    poll = select.poll()
    poll.register(database.connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def one_per_loop(make: Callable[[], R]) -> Callable[[], R]:
    """Return a function that calls `make` once per event loop and caches the result.

    A server has one loop.  Tests have many, and one loop must not see the tasks of another.
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
