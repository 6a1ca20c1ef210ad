"""Blocking work from the event loop: on threads of our own, whose database connections go back to the pool at once.

Channels and Django would share one thread per process among all of it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
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
    """Run a blocking function on a thread and return what it returns."""

    def run() -> R:
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(threads(), run)
