"""Doing something to an engine while orders are on their way, and being sure that they were."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from tests.chaos.ledgers import in_flight

ON_THEIR_WAY = 10
"""Orders that must be on their way for it to count."""
WITHIN_S = 60.0


@contextmanager
def amid(engine: Any, *acts: Callable[[], object], apart_s: float = 0.0) -> Iterator[list[int]]:
    """Do these in turn, each while orders are on their way; yields how many were, each time.

    Fails when it could not be done before the block was over and as many orders as were placed had ended.
    """
    found: list[int] = []
    doing = threading.Thread(target=do, args=(engine, acts, apart_s, found), daemon=True)
    doing.start()
    yield found
    doing.join(WITHIN_S)
    assert len(found) == len(acts), f"of {len(acts)} acts {len(found)} were done amid orders: {found}"


def do(engine: Any, acts: Sequence[Callable[[], object]], apart_s: float, found: list[int]) -> None:
    """Wait for orders on their way, act, and wait a while, as often as there are acts."""
    deadline = time.monotonic() + WITHIN_S
    for act in acts:
        while (count := on_their_way(engine)) < ON_THEIR_WAY:
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        act()
        found.append(count)
        time.sleep(apart_s)


def on_their_way(engine: Any) -> int:
    """Count orders on their way; none while the store that knows is away."""
    with suppress(psycopg.Error):
        return in_flight(engine)
    return 0
