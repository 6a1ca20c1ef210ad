"""Worker heartbeats: which worker processes are alive. Owner of the `workers:alive` key.

| key | type | holds |
|---|---|---|
| `workers:alive` | sorted set | `<queue> <host>-<pid>` by the time of that process's last heartbeat, epoch ms |
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
"""Silence after which a process counts as gone: a little more than three heartbeats."""
FORGET_MS = 600_000
"""How long a dead process is remembered. Without a limit, hosts and process ids would pile up."""
ENDS_WITHIN_S = 0.5


def beat(queue: str) -> None:
    """Record that this process works for a queue."""
    now = now_ms()
    with metrics.round_trip("redis"):
        redis().zadd(ALIVE, {name(queue): now})
    redis().zremrangebyscore(ALIVE, "-inf", now - FORGET_MS)


def stop(queue: str) -> None:
    """Remove this process: it is shutting down."""
    redis().zrem(ALIVE, name(queue))


def name(queue: str) -> str:
    return f"{queue} {socket.gethostname()}-{os.getpid()}"


def alive() -> dict[str, int]:
    """Return the number of live processes per queue."""
    heard = redis().zrangebyscore(ALIVE, now_ms() - GONE_MS, "+inf")
    counts = Counter(str(one).partition(" ")[0] for one in heard)
    return {queue: counts[queue] for queue in QUEUES}


class Heart(threading.Thread):
    """Sends a worker process's heartbeats until it is stopped. One that fails is skipped; the next is sent on time."""

    def __init__(self, queue: str) -> None:
        super().__init__(name="heart", daemon=True)
        self.queue = queue
        self.stopping = threading.Event()

    def run(self) -> None:
        """Send a heartbeat at once, then every EVERY_S, and deregister at the end."""
        self.say(beat)
        while not self.stopping.wait(EVERY_S):
            self.say(beat)
        self.say(stop)

    def say(self, what: Callable[[str], None]) -> None:
        """Write to Redis. A failure is logged at debug level only: an outage is reported elsewhere."""
        try:
            what(self.queue)
        except StoreError as reason:
            log.debug("heartbeat not sent", queue=self.queue, reason=str(reason))

    def stop(self) -> None:
        """Stop, without waiting longer than ENDS_WITHIN_S for a store that does not answer."""
        self.stopping.set()
        self.join(ENDS_WITHIN_S)
