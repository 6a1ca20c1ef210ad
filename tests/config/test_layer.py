"""The channel layer outlives a connection that has timed out, and its server goes on serving."""

import asyncio
import errno
import os
from contextlib import suppress

from channels.layers import get_channel_layer
from redis.exceptions import ConnectionError as Lost

TRIES = 10


async def test_a_subscription_whose_connection_timed_out_is_made_anew():
    layer = get_channel_layer()
    shard = layer._shards[0]
    shard._ensure_redis()
    pubsub = shard._pubsub
    heard = []
    try:
        await pubsub.subscribe("elsewhere")
        # What asyncio keeps of a peer that no longer acknowledges anything.
        pubsub.connection._reader.set_exception(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        # The layer logs this one and asks again: by then the connection is another.
        with suppress(Lost):
            await pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
        assert await shard._redis.publish("elsewhere", "news") == 1
        for _ in range(TRIES):
            heard.append(await pubsub.get_message(ignore_subscribe_messages=True, timeout=1.0))
            await asyncio.sleep(0)
        assert [message["data"] for message in heard if message] == [b"news"]
    finally:
        await layer.flush()
