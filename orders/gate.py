"""Group commit for orders that arrive together: while one group is being written, the next collects."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context

import structlog
from django.db import OperationalError

from orders import intake
from orders.aside import on, one_per_loop
from orders.intake import Accepted, Conflict, NewOrder, Paused
from orders.lines import named

log = structlog.get_logger(__name__)

GROUP_MAX = 128
WAITING_MAX = 5_000
"""Orders that may wait for their group; past this the engine says it is overloaded instead of queueing on."""
ANSWER_S = 10.0
"""How long a client waits at most: a server that is gone is noticed connection by connection, each time anew."""
LINGER_S = 0.005
"""How long a group waits, at most, until it is as large as the one before: under load, groups stay large."""


Answer = Accepted | Conflict | Paused


class Unanswered(OperationalError):
    """Postgres has not answered for ANSWER_S: it is not known whether the order is accepted.

    Its clientOrderId, sent again, tells.
    """


class Overloaded(Exception):
    """More orders wait to be written than WAITING_MAX; try again in a second."""


class Gate:
    """Collects orders on the event loop and writes them in groups on one thread."""

    def __init__(self) -> None:
        self.waiting: list[tuple[NewOrder, asyncio.Future[Answer]]] = []
        self.writer: asyncio.Task[None] | None = None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="gate")

    async def accept(self, asked: NewOrder) -> Accepted:
        """Return once the order's row is committed.

        Raises Conflict, Paused, Overloaded, Unanswered, or what the database raised.
        """
        if len(self.waiting) >= WAITING_MAX:
            raise Overloaded
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append((asked, answer))
        if self.writer is None or self.writer.done():
            # Its lines are about many orders, and would else carry what was bound for the first of them.
            self.writer = asyncio.create_task(self.write_groups(), context=Context())
        try:
            async with asyncio.timeout(ANSWER_S):
                result = await answer
        except TimeoutError:
            raise Unanswered(f"no answer within {ANSWER_S:g} s") from None
        if isinstance(result, Exception):
            raise result
        return result

    async def write_groups(self) -> None:
        """Write groups until none waits."""
        while self.waiting:
            group, self.waiting = self.waiting[:GROUP_MAX], self.waiting[GROUP_MAX:]
            await self.write([pair for pair in group if not pair[1].done()])
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
        try:
            answers: Sequence[Accepted | Exception] = await on(self.thread, intake.place, [asked for asked, _ in group])
            tell([asked for asked, _ in group], answers)
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
def gate() -> Gate:
    """Return this server's gate."""
    return Gate()
