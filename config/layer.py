"""The channel layer's connection to Redis: one that has timed out counts as lost.

Linux reports an unresponsive peer as ETIMEDOUT, which Python raises as TimeoutError, the same class as for an expired
wait. redis-py 8.1 takes it for "no message yet" and returns at once, channels-redis asks again at once, and the
server's event loop spins on nothing else.
"""

from typing import Any

from redis.asyncio.connection import DefaultParser
from redis.exceptions import ConnectionError as Lost


class Parser(DefaultParser):  # type: ignore[misc, valid-type]
    """The stock parser, except that a socket error cannot pass for the end of a wait."""

    async def read_from_socket(self) -> Any:
        """Read what has arrived; raises Lost when the connection has timed out."""
        try:
            return await super().read_from_socket()
        except TimeoutError as reason:
            raise Lost(f"the connection has timed out ({reason})") from reason
