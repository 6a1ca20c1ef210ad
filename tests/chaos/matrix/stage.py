"""The process in which cells are played: settings, and what of the engine is given by the cell that is on."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol
from unittest import mock
from weakref import WeakSet

from django.test import override_settings

from orders.flow import building, dbsync, limits, recovery, settlement, sniping, waiting
from routing import group, store
from routing.store import now_ms
from tests.orders.bench import forget_wiring

SETTINGS = {
    "MOCK_QUOTE_DELAY_MS": (0, 0),
    "MOCK_PRICE_VARIATION_PCT": (0, 0),
    # However busy the machine: a price is as young as the cell says.
    "QUOTE_FRESH_MS": 600_000,
    "QUOTE_STALE_MS": 600_000,
    "LIMIT_QUOTE_AGE_MS": 600_000,
    "LIMIT_HOLD_POLLS": 1,
    "ORDER_DEADLINE_S": 600,
}
HOSTS = {"HTTP_HOST": "localhost"}


class Dead(BaseException):
    """The worker is no more."""


class Cast(Protocol):
    """What the engine takes from the cell that is on."""

    chain: Any
    ahead_ms: int
    """By how much its clocks are ahead of the store's."""

    def role(self) -> str:
        """Name the worker whose thread this is."""
        ...


class Stage:
    """The cell that is on, and the threads whose worker has died."""

    def __init__(self) -> None:
        self.cast: Cast | None = None
        self.graves: WeakSet[threading.Thread] = WeakSet()

    def role(self) -> str:
        """Name the worker whose thread this is."""
        return self.on.role()

    @property
    def on(self) -> Cast:
        """Return the cell that is on."""
        assert self.cast is not None
        return self.cast

    def bury(self) -> None:
        """Let this thread reach Redis no more: nothing that it does on its way out happens."""
        self.graves.add(threading.current_thread())


stage = Stage()


class EachItsOwn:
    """A lock that every worker has for itself: they are processes, here on threads of one."""

    def __init__(self) -> None:
        self.locks: dict[str, threading.Lock] = {}

    def acquire(self, **options: Any) -> bool:
        """Take it."""
        return self.locks.setdefault(stage.on.role(), threading.Lock()).acquire(**options)

    def release(self) -> None:
        """Let go of it."""
        self.locks[stage.on.role()].release()


@contextmanager
def set_up() -> Iterator[None]:
    """Make this process one in which cells can be played."""
    pool = store.redis().connection_pool
    connection_of = pool.get_connection

    def alive(*args: Any, **more: Any) -> Any:
        if threading.current_thread() in stage.graves:
            raise Dead
        return connection_of(*args, **more)

    with ExitStack() as all_of_it:
        all_of_it.enter_context(override_settings(**SETTINGS))
        for where, name, instead in (
            (building, "chain", lambda: stage.on.chain),
            (settlement, "chain", lambda: stage.on.chain),
            (limits, "now_ms", lambda: now_ms() + stage.on.ahead_ms),
            (waiting, "now_ms", lambda: now_ms() + stage.on.ahead_ms),
            # Time passes when the cell lets it.
            (recovery, "SETTLED_IN_S", 0),
            (group, "TAKE_OVER_MS", 0),
            (group, "TAKE_OVER_EVERY_S", 0.0),
            (dbsync, "me", stage.role),
            (dbsync, "draining", EachItsOwn()),
            (sniping, "me", stage.role),
            (sniping, "matching", EachItsOwn()),
            (pool, "get_connection", alive),
        ):
            all_of_it.enter_context(mock.patch.object(where, name, instead))
        forget_wiring()
        yield
    forget_wiring()
