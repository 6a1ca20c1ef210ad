"""Which worker processes live: owner of the `workers:alive` key.

| key | type | holds |
|---|---|---|
| `workers:alive` | sorted set | `<queue> <host>-<pid>` by when that process last said that it lives, epoch ms |
"""

import os
import socket
import threading
from collections import Counter
from collections.abc import Callable

import structlog

from orders.flow.dispatch import QUEUES
from orders.telemetry import metrics
from routing.store import StoreError, now_ms, redis

log = structlog.get_logger(__name__)

ALIVE = "workers:alive"
EVERY_S = 2.0
GONE_MS = 7_000
"""Silence after which a process counts as gone: three heartbeats, and some."""
FORGET_MS = 600_000
"""How long one that has gone is remembered; hosts and process ids must not pile up."""
ENDS_WITHIN_S = 0.5


def beat(queue: str) -> None:
    """Say that this process works for a queue."""
    now = now_ms()
    with metrics.round_trip("redis"):
        redis().zadd(ALIVE, {name(queue): now})
    redis().zremrangebyscore(ALIVE, "-inf", now - FORGET_MS)


def stop(queue: str) -> None:
    """Say that this process ends."""
    redis().zrem(ALIVE, name(queue))


def name(queue: str) -> str:
    """Name this process and its queue."""
    return f"{queue} {socket.gethostname()}-{os.getpid()}"


def alive() -> dict[str, int]:
    """Count the living processes of every queue."""
    heard = redis().zrangebyscore(ALIVE, now_ms() - GONE_MS, "+inf")
    counts = Counter(str(one).partition(" ")[0] for one in heard)
    return {queue: counts[queue] for queue in QUEUES}


class Heart(threading.Thread):
    """Beats for a worker process until it is told to stop; a store that is away hears of it later."""

    def __init__(self, queue: str) -> None:
        super().__init__(name="heart", daemon=True)
        self.queue = queue
        self.stopping = threading.Event()

    def run(self) -> None:
        """Beat at once, then every EVERY_S, and say goodbye."""
        self.say(beat)
        while not self.stopping.wait(EVERY_S):
            self.say(beat)
        self.say(stop)

    def say(self, what: Callable[[str], None]) -> None:
        """Tell the store; its absence is others' to complain about."""
        try:
            what(self.queue)
        except StoreError as reason:
            log.debug("heartbeat not heard", queue=self.queue, reason=str(reason))

    def stop(self) -> None:
        """End; a store that does not answer is not waited for."""
        self.stopping.set()
        self.join(ENDS_WITHIN_S)
