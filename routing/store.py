"""This process's connection to Redis, and the store's clock."""

import time
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

StoreError = RedisError
"""Redis is unreachable or refused; what was sent may or may not have happened."""


@cache
def redis() -> Redis:
    r"""Return the process's client: strings in and out, every call limited to 2 s.

    One retry, on a fresh connection: every script sent through it is idempotent.  Bytes that are no text come in as
    `\xff`, so that one bad record cannot make a whole reply unreadable.
    """
    return Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        encoding_errors="backslashreplace",
        protocol=2,
        socket_timeout=2,
        socket_connect_timeout=1,
        socket_keepalive=True,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 1),
        max_connections=64,
    )


READINGS = 5
QUICK_S = 0.001
"""How often the store's clock is read at most, and how short a call makes one reading enough."""
DOUBTED_S = 1.0
"""How soon it is read again while somebody doubts it: a venue whose own clock is ahead may do so all the time."""


class StoreClock:
    """Epoch milliseconds by Redis' clock, so that no two machines' clocks are ever compared.

    Between two readings of the store the local monotonic clock carries on.
    """

    def __init__(self, resync_s: float = 10.0) -> None:
        self.resync_s = self.due_s = resync_s
        self.offset_ms = time.time() * 1000 - time.monotonic() * 1000
        self.synced_at = float("-inf")

    def __call__(self) -> int:
        """Return the store's time now; the last known offset serves while the store is away."""
        local = time.monotonic()
        if local - self.synced_at > self.due_s:
            self.synced_at, self.due_s = local, self.resync_s
            self.resync()
        return int(time.monotonic() * 1000 + self.offset_ms)

    def doubt(self) -> None:
        """Read the store's clock sooner than usual: it has stepped back, as far as somebody can tell."""
        self.due_s = DOUBTED_S

    def resync(self) -> None:
        """Read the store's clock.

        The reading is taken for that of the moment its answer came, so this clock is never ahead of the store's, and
        behind by no more than the call took: of several calls the shortest counts, on a machine that is busy.
        """
        readings: list[tuple[float, float]] = []
        while len(readings) < READINGS and (not readings or min(readings)[0] > QUICK_S):
            asked = time.monotonic()
            try:
                seconds, micros = redis().time()
            except StoreError:
                break
            answered = time.monotonic()
            readings.append((answered - asked, seconds * 1000 + micros / 1000 - answered * 1000))
        if readings:
            self.offset_ms = min(readings)[1]


now_ms = StoreClock()


CLOCK = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
"""How a script begins that needs the time: `now`, the store's own, in epoch milliseconds."""


def script(source: str) -> Any:
    """Register a Lua script; calling the result runs it by hash and loads it when the store forgot it."""
    return cache(lambda: redis().register_script(source))


def lua(path: Path) -> str:
    """Read a file of Lua, to be a script or the beginning of one."""
    return path.read_text("utf-8") + "\n"
