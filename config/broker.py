"""Celery's Redis transport with one client per channel.

kombu makes a new `Redis` object for every publish, acknowledgement and event; with redis-py 8 each builds a table of
some two hundred response callbacks, which costs more than the command.  A client on a pool
serves any number of threads.
"""

from functools import cached_property
from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as stock


class Channel(stock.Channel):
    """Keeps the client for commands that answer at once."""

    @cached_property
    def shared_client(self) -> Any:
        """Make the client on first use."""
        return super()._create_client()  # type: ignore[misc]

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        return self.shared_client


class Transport(stock.Transport):
    """The stock transport with that channel."""

    Channel = Channel


def install() -> None:
    """Let every redis:// broker address use this transport."""
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "config.broker:Transport"
