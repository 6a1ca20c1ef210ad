"""Group commit for orders that arrive together: while one group is being written, the next collects.

The one way in for orders, whichever door they come through.
"""

import asyncio
import time
from collections.abc import Sequence
from contextvars import Context

import structlog
from django.db import DatabaseError

from orders.flow import backlog, intake
from orders.flow.backlog import Backlog
from orders.flow.intake import Accepted, Conflict, NewOrder, Paused
from orders.stores.threads import Late, OwnThread, one_per_loop
from orders.telemetry.log_fields import named

log = structlog.get_logger(__name__)

GROUP_MAX = 128
WAITING_MAX = 5 * GROUP_MAX
"""Orders that may wait for their group, about a second on a small machine that is busy with others.

Past this the engine says it is overloaded: its clients would wait, and each keeps a connection and some memory."""
ANSWER_S = 10.0
"""How long a client waits at most, and a group may take: a server that is gone is noticed connection by connection."""
LINGER_S = 0.005
"""How long a group waits, at most, until it is as large as the one before: under load, groups stay large."""


class Overloaded(Exception):
    """More is asked for than can be done in time; nothing was done."""


Answer = Accepted | Conflict | Paused
Verdict = Answer | Overloaded | DatabaseError


class Batcher:
    """Collects orders on the event loop and writes them in groups on one thread."""

    def __init__(self) -> None:
        self.waiting: list[tuple[NewOrder, asyncio.Future[Answer]]] = []
        self.writer: asyncio.Task[None] | None = None
        self.thread = OwnThread("batcher")
        self.beside = OwnThread("beside the batcher")
        """For what acceptance has to read; it must not wait behind the readers either."""
        self.backlog = Backlog(self.beside)

    async def accept(self, asked: NewOrder) -> Accepted:
        """Return once the order's row is committed.

        Raises Conflict, Paused, Overloaded, Late, or what the database raised.
        """
        answer = self.queue(asked)
        try:
            async with asyncio.timeout(ANSWER_S):
                result = await answer
        except TimeoutError:
            raise unanswered() from None
        if isinstance(result, Exception):
            raise result
        return result

    async def accept_all(self, asked: Sequence[NewOrder]) -> list[Verdict]:
        """Return once each order's row is committed, or why not; of no two may the client order id be the same."""
        answers = [self.queued(one) for one in asked]
        futures = [answer for answer in answers if isinstance(answer, asyncio.Future)]
        if futures:
            try:
                await asyncio.wait(futures, timeout=ANSWER_S)
            finally:
                # Whoever has gone, or been answered, waits no longer.
                for future in futures:
                    future.cancel()
        return [verdict(answer) if isinstance(answer, asyncio.Future) else answer for answer in answers]

    def queued(self, asked: NewOrder) -> "asyncio.Future[Answer] | Overloaded":
        """Have an order wait for its group, or say that there are too many."""
        try:
            return self.queue(asked)
        except Overloaded as reason:
            return reason

    def queue(self, asked: NewOrder) -> "asyncio.Future[Answer]":
        """Have an order wait for its group.

        Raises Overloaded.
        """
        adds = backlog.adds(asked.order)
        if len(self.waiting) >= WAITING_MAX or (adds and self.backlog.is_full()):
            raise Overloaded
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if adds:
            self.backlog.taken += 1
        self.waiting.append((asked, answer))
        if self.writer is None or self.writer.done():
            # Its lines are about many orders, and would else carry what was bound for the first of them.
            self.writer = asyncio.create_task(self.write_groups(), context=Context())
        return answer

    async def write_groups(self) -> None:
        """Write groups until none waits."""
        while self.waiting:
            group, self.waiting = self.waiting[:GROUP_MAX], self.waiting[GROUP_MAX:]
            try:
                await self.write([pair for pair in group if not pair[1].done()])
            finally:
                self.backlog.settled += sum(backlog.adds(asked.order) for asked, _ in group)
            await self.linger(len(group))

    async def linger(self, size: int) -> None:
        """Wait for as much company as the last group had, if it had any."""
        deadline = time.monotonic() + LINGER_S
        while 1 < size > len(self.waiting) and time.monotonic() < deadline:
            await asyncio.sleep(LINGER_S / 5)

    async def write(self, group: list[tuple[NewOrder, asyncio.Future[Answer]]]) -> None:
        """Write one group and answer each of its clients."""
        if not group:
            return
        orders = [asked for asked, _ in group]
        try:
            answers: Sequence[Accepted | Exception] = await self.thread.run(ANSWER_S, intake.place, orders)
            tell(orders, answers)
        except Exception as reason:
            # Whatever it was, each client must hear of it; nothing may wait for ever.
            answers = [reason] * len(group)
        for (_, future), answer in zip(group, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception) and not isinstance(answer, Conflict | Paused):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def verdict(answer: "asyncio.Future[Answer]") -> Verdict:
    """Say what became of an order.

    Raises what nobody expected.
    """
    if answer.cancelled():
        return unanswered()
    reason = answer.exception()
    if reason is None:
        return answer.result()
    if isinstance(reason, DatabaseError):
        return reason
    raise reason


def unanswered() -> Late:
    """Say that it is not known whether an order is accepted: its clientOrderId, sent again, tells."""
    return Late(f"no answer within {ANSWER_S:g} s")


def tell(group: Sequence[NewOrder], answers: Sequence[Accepted | Exception]) -> None:
    """Log a group in as few lines as may be: one for each order would cost more than accepting it."""
    new = [
        one.order
        for one, answer in zip(group, answers, strict=True)
        if isinstance(answer, Accepted) and not answer.repeat
    ]
    for field in named([order.id for order in new]):
        log.info("orders accepted", count=len(new), **field)
    for order in new:
        log.debug("order accepted", order_id=order.id, client_order_id=order.client_order_id, pair=order.pair.name)


@one_per_loop
def batcher() -> Batcher:
    """Return this server's batcher."""
    return Batcher()


async def accept(asked: NewOrder) -> Accepted:
    """Accept an order at this server's batcher; for doors that are not on the event loop, by `async_to_sync`."""
    return await batcher().accept(asked)


async def accept_all(asked: Sequence[NewOrder]) -> list[Verdict]:
    """Accept orders at this server's batcher, each with its own verdict."""
    return await batcher().accept_all(asked)
