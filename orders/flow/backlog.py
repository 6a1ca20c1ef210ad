"""The backlog: orders that are accepted and not yet submitted to the chain.

Accepting more of them than can be executed in time would promise what cannot be kept.
"""

import asyncio
from contextvars import Context

import structlog
from django.conf import settings

from engine.orders import Order, TimeInForce
from orders.stores import live
from orders.stores.threads import Late, OwnThread
from routing.store import StoreError, now_ms

log = structlog.get_logger(__name__)

READ_EVERY_S = 0.25
READ_WITHIN_S = 5.0


class Backlog:
    """What this server process knows of it: the last reading of all there is, and what it has taken in since.

    Readings are taken beside the requests.  With Redis away the last one stands, so that what comes in meanwhile, which
    nobody executes, is bounded too.
    """

    def __init__(self, thread: OwnThread) -> None:
        self.thread = thread
        self.read = self.taken = self.settled = self.counted = 0
        """The reading; orders this process has taken in, those of them written or refused, those in the reading."""
        self.asked = False
        self.reader: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """Return how many orders wait to be executed, as far as this process knows."""
        return self.read + self.taken - self.counted

    def is_full(self) -> bool:
        """Tell whether another order would be one too many; never waits."""
        if not settings.ORDER_BACKLOG_MAX:
            return False
        self.asked = True
        if self.reader is None or self.reader.done():
            self.reader = asyncio.create_task(self.keep_reading(), context=Context())
        return self.depth >= settings.ORDER_BACKLOG_MAX

    async def keep_reading(self) -> None:
        """Read every READ_EVERY_S while somebody asks, and until nothing is left that would mislead the next."""
        while self.asked or self.depth:
            self.asked = False
            await self.read_anew()
            await asyncio.sleep(READ_EVERY_S)

    async def read_anew(self) -> None:
        """Read how many there are; those this process has not written yet come on top."""
        settled = self.settled
        try:
            self.read = await self.thread.run(READ_WITHIN_S, unsubmitted)
        except (StoreError, Late) as reason:
            log.debug("backlog not read, the last reading stays", reason=str(reason))
        else:
            self.counted = settled


def unsubmitted() -> int:
    """Count the orders that somebody must execute; those that rest are not among them."""
    load = live.load(now_ms())
    return max(0, load.orders - load.attempts)


def adds(order: Order) -> bool:
    """Tell whether an order is to be executed at once; one that rests has time."""
    return not order.waits or order.time_in_force is TimeInForce.IOC
