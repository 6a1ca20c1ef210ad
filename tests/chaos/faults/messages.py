"""Wake-ups on their way: some are dropped, some come late, some come twice."""

import threading
import time
from collections import Counter
from contextlib import suppress
from random import Random

import redis

from tests.chaos.faults.ground import Ground, Hit
from tests.chaos.plan.faults import Planned

QUEUES = ("order", "limit", "sniper", "stream", "dbsync", "dlq")
LATE_S = (0.5, 8.0)
PAUSE_S = 0.02


class Thief(threading.Thread):
    """Takes messages out of the queues before workers do, and does as it likes with each."""

    def __init__(self, client: "redis.Redis", shares: dict[str, float]) -> None:
        super().__init__(name="thief", daemon=True)
        self.client = client
        self.shares = shares
        self.rng = Random(str(shares))
        self.over = threading.Event()
        self.late: list[tuple[float, bytes, bytes]] = []
        self.done: Counter[str] = Counter()

    def run(self) -> None:
        """Take what comes until it is over; then bring back the last of what is late."""
        while not self.over.is_set():
            with suppress(redis.RedisError):
                self.take()
        with suppress(redis.RedisError):
            self.bring_back(time.monotonic() + LATE_S[1])

    def take(self) -> None:
        """Take one message, if there is one, and deal with it."""
        self.bring_back(time.monotonic())
        taken = self.client.brpop(list(QUEUES), timeout=0.1)
        if taken is None:
            return
        queue, message = taken
        (what,) = self.rng.choices(tuple(self.shares), tuple(self.shares.values()))
        self.done[what] += 1
        if what == "double":
            self.client.rpush(queue, message)
        if what in ("double", "delay"):
            self.late.append((time.monotonic() + self.rng.uniform(*LATE_S), queue, message))
        # Meanwhile workers take what comes: not everything is stolen.
        time.sleep(PAUSE_S)

    def bring_back(self, now: float) -> None:
        """Put back what has been away long enough."""
        due = [one for one in self.late if one[0] <= now]
        self.late = [one for one in self.late if one[0] > now]
        for _, queue, message in due:
            self.client.rpush(queue, message)


def messages(ground: Ground, planned: Planned) -> Hit | None:
    """Let a thief at the queues for a while."""
    if "messages" in ground.busy:
        return None
    ground.busy.add("messages")
    thief = Thief(ground.redis.client(), planned.facts["shares"])
    thief.start()

    def enough() -> None:
        thief.over.set()
        ground.busy.discard("messages")

    return Hit("queues", enough, {"done": thief.done})
