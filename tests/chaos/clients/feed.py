"""A socket that carries many orders: what it follows it asks for anew whenever it breaks."""

import asyncio
import json
import time
from contextlib import suppress
from random import Random
from typing import Any

from websockets.asyncio.client import ClientConnection

from tests.chaos.clients.socket import AWAY, backoff_s, opened, take
from tests.chaos.clients.story import Story

AT_ONCE = 200
"""Orders one message names."""
GATHER_S = 0.05
LIVES_S = (8.0, 40.0)
"""How long a socket is kept before it is dropped, to resume all of it."""
ASK_S = 0.2
SILENT_S = 20.0
"""How long a server may say nothing of orders whose end is known; then it has nothing to say."""


class Feed:
    """One client on `/ws/orders`."""

    def __init__(self, url: str, rng: Random) -> None:
        self.url = f"{url}/ws/orders"
        self.rng = rng
        self.stories: dict[str, Story] = {}
        self.new: list[Story] = []

    def follow(self, story: Story) -> None:
        """Follow one more order."""
        self.stories[story.order_id] = story
        self.new.append(story)

    async def run(self) -> None:
        """Follow for ever."""
        misses = 0
        while True:
            try:
                async with asyncio.timeout(self.rng.uniform(*LIVES_S)) as life:
                    socket = await opened(self.url)
                    misses = 0
                    await self.listen(socket)
            except AWAY:
                misses += 0 if life.expired() else 1
            await asyncio.sleep(backoff_s(misses))

    async def listen(self, socket: ClientConnection) -> None:
        """Ask for everything, and take what comes."""
        asking = asyncio.create_task(self.ask(socket))
        try:
            async for text in socket:
                self.take(json.loads(text))
        finally:
            asking.cancel()
            socket.transport.abort()
            with suppress(*AWAY):
                await socket.close()

    async def ask(self, socket: ClientConnection) -> None:
        """Ask for all that is followed, then for what is new."""
        self.new.clear()
        due = list(self.stories.values())
        with suppress(*AWAY):
            while True:
                for begin in range(0, len(due), AT_ONCE):
                    await socket.send(wanted(due[begin : begin + AT_ONCE]))
                await asyncio.sleep(GATHER_S)
                due, self.new = self.new, []

    def take(self, message: dict[str, Any]) -> None:
        """Give a message to the story it belongs to."""
        story = self.stories.get(order_of(message))
        if story is not None:
            take(story, message)
            if story.ended:
                del self.stories[story.order_id]


def wanted(stories: list[Story]) -> str:
    """Ask for these orders, each from where its story stands."""
    return json.dumps({"follow": [{"orderId": story.order_id, **story.place} for story in stories]})


def order_of(message: dict[str, Any]) -> str:
    """Return which order a message is about; nothing for one about none."""
    fields = message.get("error", {}).get("fields", [])
    named = [field["value"] for field in fields if field.get("field") == "orderId"]
    return str(message.get("orderId") or (named[0] if named else ""))


async def resume(url: str, stories: list[Story]) -> None:
    """Come back once more for orders whose end is known: what has been rewound since is told now."""
    known = {story.order_id: story for story in stories}
    left, silent_since = len(stories), time.monotonic()
    socket = await opened(f"{url}/ws/orders")
    try:
        for begin in range(0, len(stories), AT_ONCE):
            await socket.send(wanted(stories[begin : begin + AT_ONCE]))
        while left and time.monotonic() - silent_since < SILENT_S:
            message = json.loads(await socket.recv())
            if "following" not in message:
                silent_since = time.monotonic()
                if story := known.get(order_of(message)):
                    take(story, message)
                continue
            if message["following"] != left:
                left, silent_since = message["following"], time.monotonic()
            await asyncio.sleep(ASK_S)
            await socket.send('{"follow": []}')
    finally:
        await socket.close()
