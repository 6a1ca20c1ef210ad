"""How much a server process takes in hand at a time, so that its memory is bounded whatever comes."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from orders.flow.batcher import Overloaded

REQUESTS_MAX = 3_000
"""Requests in hand: more than the orders that may wait for their group."""
BODIES_MAX = 64 * 1024 * 1024
"""Bytes of their bodies in all."""
BODY_WITHIN_S = 10.0
"""How long a body may take to come in."""


class Bounds:
    """What this process has in hand."""

    def __init__(self) -> None:
        self.requests = self.sockets = self.body_bytes = 0

    def request(self) -> "Body":
        """Have a request in hand for as long as its body is entered.

        Raises Overloaded.
        """
        if self.requests >= REQUESTS_MAX:
            raise Overloaded
        return Body(self)

    @contextmanager
    def socket(self) -> Iterator[bool]:
        """Have a socket open for a while; tell whether there is room for it."""
        self.sockets += 1
        try:
            yield self.sockets <= settings.ENGINE_SOCKETS_MAX
        finally:
            self.sockets -= 1


class Body:
    """What one request has sent of its body."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.size = 0

    def __enter__(self) -> "Body":
        self.bounds.requests += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.bounds.requests -= 1
        self.bounds.body_bytes -= self.size

    def grow(self, size: int) -> None:
        """Count what has come in.

        Raises Overloaded.
        """
        if self.bounds.body_bytes + size > BODIES_MAX:
            raise Overloaded
        self.bounds.body_bytes += size
        self.size += size


bounds = Bounds()
"""What this process has in hand."""
