"""What is rare and concerns every server process, over the channel layer: so far, that the catalogue was edited."""

import asyncio
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from orders.aside import one_per_loop
from routing.catalogue import catalogue

log = structlog.get_logger(__name__)

GROUP = "control"
RETRY_S = 1.0


def catalogue_changed() -> None:
    """Have every server process read tokens and pairs anew; one that misses this does so within seconds anyway."""
    catalogue.forget()
    try:
        async_to_sync(get_channel_layer().group_send)(GROUP, {"type": "catalogue.changed"})
    except (RedisError, OSError) as reason:
        log.warning("edit not announced, processes notice within seconds", reason=str(reason))


class Listener:
    """This server process's ear on the channel layer."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None

    def ensure_listening(self) -> None:
        """Start listening with the first request."""
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.listen())

    async def listen(self) -> None:
        """Obey what arrives; a lost layer is joined again."""
        layer = get_channel_layer()
        while True:
            try:
                channel = await layer.new_channel()
                await layer.group_add(GROUP, channel)
                while True:
                    self.obey(await layer.receive(channel))
            except (RedisError, OSError) as reason:
                log.warning("control messages unreachable, joining again", reason=str(reason))
                await asyncio.sleep(RETRY_S)

    def obey(self, message: dict[str, Any]) -> None:
        """Do what the message says."""
        if message["type"] == "catalogue.changed":
            catalogue.forget()


@one_per_loop
def listener() -> Listener:
    """Return this server's listener."""
    return Listener()
