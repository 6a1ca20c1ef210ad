"""Between threads and event loops: blocking work from a loop, and objects that belong to one loop.

Blocking work runs on threads of our own, whose database connections go back to the pool at once; Channels and Django
would share one thread per process among all of it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

THREADS = 8

P = ParamSpec("P")
R = TypeVar("R")


@cache
def threads() -> ThreadPoolExecutor:
    """Return the process's threads."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="aside")


async def aside(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a blocking function on a thread, within this task's log context, and return what it returns."""
    return await on(threads(), function, *args, **kwargs)


async def on(pool: ThreadPoolExecutor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a blocking function on one of the pool's threads."""

    def run() -> R:
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(pool, copy_context().run, run)


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
