"""Group commit for orders that arrive together: while one group is being written, the next collects."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from django.db import close_old_connections

from orders import intake
from orders.intake import Accepted, Conflict, NewOrder

GROUP_MAX = 128
WAITING_MAX = 5_000
"""Orders that may wait for their group; past this the engine says it is overloaded instead of queueing on."""
LINGER_S = 0.005
"""How long a group waits, at most, until it is as large as the one before: under load, groups stay large."""


class Overloaded(Exception):
    """More orders wait to be written than WAITING_MAX; try again in a second."""


class Gate:
    """Collects orders on the event loop and writes them in groups on one thread."""

    def __init__(self) -> None:
        self.waiting: list[tuple[NewOrder, asyncio.Future[Accepted | Conflict]]] = []
        self.writer: asyncio.Task[None] | None = None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="gate")

    async def accept(self, asked: NewOrder) -> Accepted:
        """Return once the order's row is committed.

        Raises Conflict, Overloaded, or what the database raised.
        """
        if len(self.waiting) >= WAITING_MAX:
            raise Overloaded
        answer: asyncio.Future[Accepted | Conflict] = asyncio.get_running_loop().create_future()
        self.waiting.append((asked, answer))
        if self.writer is None:
            self.writer = asyncio.create_task(self.write_groups())
        result = await answer
        if isinstance(result, Conflict):
            raise result
        return result

    async def write_groups(self) -> None:
        """Write groups until none waits."""
        while self.waiting:
            group, self.waiting = self.waiting[:GROUP_MAX], self.waiting[GROUP_MAX:]
            await self.write([pair for pair in group if not pair[1].done()])
            await self.linger(len(group))
        self.writer = None

    async def linger(self, size: int) -> None:
        """Wait for as much company as the last group had, if it had any."""
        deadline = time.monotonic() + LINGER_S
        while 1 < size > len(self.waiting) and time.monotonic() < deadline:
            await asyncio.sleep(LINGER_S / 5)

    async def write(self, group: list[tuple[NewOrder, asyncio.Future[Accepted | Conflict]]]) -> None:
        """Write one group and answer each of its clients."""
        if not group:
            return
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self.thread, commit, [asked for asked, _ in group])
        except Exception as reason:
            # Whatever it was, each client must hear of it; nothing may wait for ever.
            answers = [reason] * len(group)
        for (_, future), answer in zip(group, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception) and not isinstance(answer, Conflict):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def commit(asked: list[NewOrder]) -> list[Accepted | Conflict]:
    """Write a group on the gate's thread; its connection goes back to the pool afterwards."""
    try:
        return intake.place(asked)
    finally:
        close_old_connections()


@cache
def gate() -> Gate:
    """Return the process's gate."""
    return Gate()
