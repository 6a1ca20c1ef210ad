"""Worker heartbeats: which worker processes are alive. Owner of the `workers:alive` key.

| key | type | holds |
|---|---|---|
| `workers:alive` | sorted set | `<queue> <host>-<pid> <first>` by the time of that process's last heartbeat, epoch ms |

`first` is the time of its first heartbeat.
"""

import os
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import structlog

from orders.flow.dispatch import QUEUES
from orders.telemetry import metrics
from routing.store import StoreError, now_ms, redis

log = structlog.get_logger(__name__)

ALIVE = "workers:alive"
EVERY_S = 2.0
GONE_MS = 7_000
"""Silence after which a process counts as gone: a little more than three heartbeats."""
FORGET_MS = 3_600_000
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
    return f"{queue} {socket.gethostname()}-{os.getpid()} {first(os.getpid())}"


@cache
def first(_: int) -> int:
    """Return the time of this process's first heartbeat: another one may have had its process id."""
    return now_ms()


def alive() -> dict[str, int]:
    """Return the number of live processes per queue."""
    heard = redis().zrangebyscore(ALIVE, now_ms() - GONE_MS, "+inf")
    counts = Counter(str(one).partition(" ")[0] for one in heard)
    return {queue: counts[queue] for queue in QUEUES}


@dataclass(frozen=True, slots=True)
class Process:
    """A worker process, by the times of its first and last heartbeat, epoch ms."""

    queue: str
    first: int
    last: int


def silent() -> dict[str, int]:
    """Return, per queue, how many processes fell silent without a farewell and were not replaced by one begun since."""
    told: Any = redis().zrange(ALIVE, 0, -1, withscores=True)
    split = [(str(name).split(), int(last)) for name, last in told]
    # Those of an earlier version do not tell their first heartbeat.
    known = [Process(words[0], int(words[2]), last) for words, last in split if len(words) > 2]
    since = now_ms() - GONE_MS
    counts = dict.fromkeys(QUEUES, 0)
    for queue in QUEUES:
        born = sorted(one.first for one in known if one.queue == queue and one.last >= since)
        for lost in sorted(one.last for one in known if one.queue == queue and one.last < since):
            if replacement := next((at for at in born if at > lost), None):
                born.remove(replacement)
            else:
                counts[queue] += 1
    return counts


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
