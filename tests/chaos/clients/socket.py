"""A socket for one order: dropped on purpose now and then, resumed whenever it breaks."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.bearer import given
from tests.chaos.clients.story import Story

OPEN_S = 10.0
PING_S = 10.0
"""How often a socket is tried, and how long that may take: one to a process that stands still is given up."""
AWAY = (OSError, TimeoutError, InvalidHandshake, InvalidMessage, ConnectionClosed, EOFError)
BACKOFF_S = (0.1, 3.0)
AFTER_END_S = 15.0
"""How long a server may leave a socket open after the last event."""

closes: Counter[int] = Counter()
"""How sockets were closed, by code."""


async def opened(url: str) -> ClientConnection:
    """Open a socket.

    Raises what is in AWAY.
    """
    return await connect(
        url,
        additional_headers=given(),
        proxy=None,
        compression=None,
        open_timeout=OPEN_S,
        ping_interval=PING_S,
        ping_timeout=PING_S,
        close_timeout=1,
    )


def backoff_s(misses: int) -> float:
    """Return how long to wait before coming back for the so-manieth time in vain."""
    return min(BACKOFF_S[1], BACKOFF_S[0] * 2 ** min(misses, 10)) * (0.5 + random.random() / 2)


async def follow(url: str, story: Story, drops: Sequence[int]) -> None:
    """Follow one order to its end, however often that takes a new socket."""
    misses = 0
    while True:
        heard = story.heard
        try:
            if await listened(url, story, drops) and story.ended:
                return
        except AWAY:
            pass
        misses = 0 if story.heard > heard else misses + 1
        await asyncio.sleep(backoff_s(misses))


async def listened(url: str, story: Story, drops: Sequence[int]) -> bool:
    """Listen on one socket until it closes; False when it was dropped here."""
    place = f"?{urlencode(story.place)}" if story.seq else ""
    socket = await opened(f"{url}/ws/{story.order_id}{place}")
    try:
        while True:
            text = await asyncio.wait_for(socket.recv(), AFTER_END_S if story.ended else None)
            take(story, json.loads(text))
            if story.heard in drops:
                socket.transport.abort()
                return False
    except ConnectionClosed as closed:
        closes[closed.rcvd.code if closed.rcvd else 1006] += 1
        return True
    finally:
        await socket.close()


def take(story: Story, message: dict[str, object]) -> None:
    """Take what the server says of an order; that a store is away right now is not said of the order."""
    error = message.get("error")
    if not isinstance(error, dict) or error.get("code") == "not_found":
        story.take(message)
