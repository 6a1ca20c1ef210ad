"""How a server process hears at once what operators change; those that miss it notice within seconds."""

import asyncio
from typing import Any

import structlog
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from orders.flow.pauses import GROUP, HEARD
from orders.stores.threads import one_per_loop

log = structlog.get_logger(__name__)

RETRY_S = 1.0


class Listener:
    """This server process's subscription to control messages on the channel layer."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None

    def ensure_listening(self) -> None:
        """Start listening on the first request, and again if the listener has ended."""
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.listen())

    async def listen(self) -> None:
        """Handle incoming messages; rejoin the channel layer after losing it."""
        layer = get_channel_layer()
        while True:
            try:
                channel = await layer.new_channel()
                await layer.group_add(GROUP, channel)
                while True:
                    self.obey(await layer.receive(channel))
            except (RedisError, OSError) as reason:
                log.warning("control messages unreachable, rejoining", reason=str(reason))
                await asyncio.sleep(RETRY_S)

    def obey(self, message: dict[str, Any]) -> None:
        if message["type"] in HEARD:
            HEARD[message["type"]]()


@one_per_loop
def listener() -> Listener:
    return Listener()
