"""Batcher: group commit for incoming orders. While one group is being written, the next one collects.

Every order is accepted through it, whichever API it arrives on.
"""

import asyncio
import time
from collections.abc import Sequence
from contextvars import Context

import structlog

from orders.flow import backlog, intake
from orders.flow.backlog import Backlog
from orders.flow.intake import Accepted, NewOrder
from orders.stores.threads import Late, OwnThread, one_per_loop
from orders.telemetry.log_fields import named

log = structlog.get_logger(__name__)

GROUP_MAX = 128
WAITING_MAX = 5 * GROUP_MAX
"""Orders that may wait for a group: about one second of work on a small machine under other load.

Above this the engine answers that it is overloaded, because each waiting client holds a connection and memory.
"""
ANSWER_S = 10.0
"""Longest time a client waits and a group may take. An unreachable database server is detected connection by
connection."""
LINGER_S = 0.005
"""Longest time a group waits to reach the size of the previous one. This keeps groups large under load."""


class Overloaded(Exception):
    """The engine cannot accept the order in time; nothing was done."""


Verdict = Accepted | Exception
"""Conflict, Paused, Overloaded, Late and the database's errors are expected; any other exception is a defect."""


class Batcher:
    """Collects orders on the event loop and writes them in groups on one thread."""

    def __init__(self) -> None:
        self.waiting: list[tuple[NewOrder, asyncio.Future[Verdict]]] = []
        self.writer: asyncio.Task[None] | None = None
        self.thread = OwnThread("batcher")
        self.beside = OwnThread("beside the batcher")
        """Runs the reads that acceptance depends on, so that they never queue behind API reads."""
        self.backlog = Backlog(self.beside)

    async def accept(self, asked: Sequence[NewOrder]) -> list[Verdict]:
        """Return each order's verdict once its row is committed or refused.

        Of orders that share a client order id, the first decides what it names.
        """
        answers = [self.queue(one) for one in asked]
        try:
            async with asyncio.timeout(ANSWER_S):
                for answer in answers:
                    await answer
        except TimeoutError:
            pass
        finally:
            # Cancel what is unanswered, so that the writer skips clients that left or timed out.
            for answer in answers:
                answer.cancel()
        return [unanswered() if answer.cancelled() else answer.result() for answer in answers]

    def queue(self, asked: NewOrder) -> "asyncio.Future[Verdict]":
        """Queue an order for the next group, or answer at once that it is one too many."""
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        adds = backlog.adds(asked.order)
        if len(self.waiting) >= WAITING_MAX or (adds and self.backlog.is_full()):
            answer.set_result(Overloaded())
            return answer
        if adds:
            self.backlog.taken += 1
        self.waiting.append((asked, answer))
        if self.writer is None or self.writer.done():
            # A fresh context: the writer logs about many orders and must not inherit the first order's log context.
            self.writer = asyncio.create_task(self.write_groups(), context=Context())
        return answer

    async def write_groups(self) -> None:
        """Write groups until no order is waiting."""
        while self.waiting:
            group, self.waiting = self.waiting[:GROUP_MAX], self.waiting[GROUP_MAX:]
            try:
                await self.write([pair for pair in group if not pair[1].done()])
            finally:
                self.backlog.settled += sum(backlog.adds(asked.order) for asked, _ in group)
            await self.linger(len(group))

    async def linger(self, size: int) -> None:
        """Wait until as many orders are queued as the last group had, at most LINGER_S. Skip after a group of 1."""
        deadline = time.monotonic() + LINGER_S
        while 1 < size > len(self.waiting) and time.monotonic() < deadline:
            await asyncio.sleep(LINGER_S / 5)

    async def write(self, group: list[tuple[NewOrder, asyncio.Future[Verdict]]]) -> None:
        """Write one group and answer each of its clients."""
        if not group:
            return
        orders = [asked for asked, _ in group]
        try:
            answers: Sequence[Verdict] = await self.thread.run(ANSWER_S, intake.place, orders)
            tell(orders, answers)
        except Exception as reason:
            # Report any error to every client: no client may wait for ever.
            answers = [reason] * len(group)
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)


def unanswered() -> Late:
    """Return the error for an unknown outcome: the order may or may not be accepted.

    The client finds out by sending the same clientOrderId again.
    """
    return Late(f"no answer within {ANSWER_S:g} s")


def tell(group: Sequence[NewOrder], answers: Sequence[Verdict]) -> None:
    """Log a group in as few lines as possible: one line per order would cost more than accepting the order."""
    new = [
        one for one, answer in zip(group, answers, strict=True) if isinstance(answer, Accepted) and not answer.repeat
    ]
    requests = list(dict.fromkeys(one.request_id for one in new if one.request_id))
    for field in named([one.order.id for one in new]):
        log.info("orders accepted", count=len(new), request_ids=requests, **field)
    for one in new:
        order = one.order
        log.debug("order accepted", order_id=order.id, client_order_id=order.client_order_id, pair=order.pair.name)


@one_per_loop
def batcher() -> Batcher:
    return Batcher()
