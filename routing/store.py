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
        redis_connect_func=introduce,
    )


EPOCH = "store:epoch"
RUN = "store:run"
COMPARING = "store:comparing"
DISTRUST = (
    f"if redis.call('GET', '{RUN}') ~= ARGV[1] then return redis.call('DEL', '{EPOCH}', '{COMPARING}') end return 0"
)
"""A server other than the one on which the epoch began may have forgotten something: see routing/epochs.py."""


def introduce(connection: Any) -> None:
    """Set up a new connection, and end the epoch if the server is not the one it began on.

    This comes before any other command on the connection, so no script of ours runs in an epoch that is over.
    """
    connection.on_connect()
    connection.send_command("INFO", "server")
    run = run_id(connection.read_response())
    connection.send_command("EVAL", DISTRUST, 0, run)
    connection.read_response()


def run_id(info: bytes | str) -> str:
    """Find a server's run id in what INFO says of it.

    Raises StoreError for a server that has none.
    """
    text = info.decode() if isinstance(info, bytes) else info
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "run_id":
            return value
    raise RedisError("INFO names no run_id: the engine needs Redis 7 or Valkey, without a proxy before it")


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
