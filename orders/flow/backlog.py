"""The backlog: accepted orders that are not yet submitted to the chain.

It is bounded by ORDER_BACKLOG_MAX, so that the engine does not accept more orders than it can execute in time.
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
    """This server process's estimate of the backlog: the last reading plus the orders it has accepted since.

    Readings run in the background, off the request path. While Redis is unreachable the last reading is kept, so orders
    accepted during an outage, which no worker executes, are bounded too.
    """

    def __init__(self, thread: OwnThread) -> None:
        self.thread = thread
        self.read = self.taken = self.settled = self.counted = 0
        """The last reading; orders this process took in; those already written or refused; those the reading covers."""
        self.asked = False
        self.reader: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """Return the number of orders waiting to be executed, as far as this process knows."""
        return self.read + self.taken - self.counted

    def is_full(self) -> bool:
        """Return whether the backlog is at its limit. Never blocks."""
        if not settings.ORDER_BACKLOG_MAX:
            return False
        self.asked = True
        if self.reader is None or self.reader.done():
            self.reader = asyncio.create_task(self.keep_reading(), context=Context())
        return self.depth >= settings.ORDER_BACKLOG_MAX

    async def keep_reading(self) -> None:
        """Read every READ_EVERY_S while callers ask, and until the depth is 0.

        Stopping earlier would leave a stale depth for the next caller.
        """
        while self.asked or self.depth:
            self.asked = False
            await self.read_anew()
            await asyncio.sleep(READ_EVERY_S)

    async def read_anew(self) -> None:
        """Refresh the reading. Orders this process has not written yet are added on top of it."""
        settled = self.settled
        try:
            self.read = await self.thread.run(READ_WITHIN_S, unsubmitted)
        except (StoreError, Late) as reason:
            log.debug("backlog not read, keeping the last value", reason=str(reason))
        else:
            self.counted = settled


def unsubmitted() -> int:
    """Count the orders that a worker must execute. Resting orders are not counted."""
    load = live.load(now_ms())
    return max(0, load.orders - load.attempts)


def adds(order: Order) -> bool:
    """Return whether an order must be executed at once and so adds to the backlog. Resting orders do not."""
    return not order.waits or order.time_in_force is TimeInForce.IOC
