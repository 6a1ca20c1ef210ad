"""After the calm: every order is read once more, and everybody who knows an end comes back to hear whether it holds."""

import asyncio
from collections.abc import Iterable

from tests.chaos.clients.feed import resume
from tests.chaos.clients.http import Http
from tests.chaos.clients.socket import AWAY
from tests.chaos.clients.story import Story

AT_ONCE = 12
RESUMED = 100
SOCKETS = 3
RESUME_S = 60.0
TRIES = 8


async def resume_all(ws: str, stories: Iterable[Story]) -> None:
    """Come back for every order that has ended, a hundred on a socket at a time."""
    ended = [story for story in stories if story.ended]
    todo = iter([ended[begin : begin + RESUMED] for begin in range(0, len(ended), RESUMED)])

    async def resumer() -> None:
        for some in todo:
            await resume_some(ws, some)

    await asyncio.gather(*(resumer() for _ in range(SOCKETS)))


async def resume_some(ws: str, stories: list[Story]) -> None:
    """Come back for these on one socket; on another when it breaks.

    Raises TimeoutError when none lasts: what such clients would have heard nobody knows.
    """
    for _ in range(TRIES):
        try:
            async with asyncio.timeout(RESUME_S):
                await resume(ws, stories)
            return
        except AWAY:
            await asyncio.sleep(1)
    raise TimeoutError(f"{len(stories)} orders that have ended could not be resumed in {TRIES} tries")


async def read_all(http: Http, order_ids: Iterable[str]) -> None:
    """Read every order and its events."""
    todo = iter(list(order_ids))

    async def reader() -> None:
        for order_id in todo:
            await http.read("events", order_id, f"/api/orders/{order_id}/events")
            await http.read("order", order_id, f"/api/orders/{order_id}")

    await asyncio.gather(*(reader() for _ in range(AT_ONCE)))
