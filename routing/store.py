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

PROBE_S = 0.6
"""Time limit of a probe's call, of which it makes at most two."""
StoreError = RedisError
"""Redis is unreachable or returned an error; whether the command took effect is unknown."""


@cache
def redis() -> Redis:
    r"""Return the process's client: strings in and out, every call limited to 2 s.

    It retries once, on a new connection, which is safe because every script sent through it is idempotent.  Bytes that
    are not valid text are read as `\xff`, so that one bad record cannot make a whole reply unreadable.
    """
    return client(answers_s=2, connects_s=1)


@cache
def probe() -> Redis:
    """Return the client of readiness probes, which must answer themselves within 2 s."""
    return client(answers_s=PROBE_S, connects_s=PROBE_S)


def client(*, answers_s: float, connects_s: float) -> Redis:
    """Return a client with these time limits for one answer, and for a connection."""
    return Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        encoding_errors="backslashreplace",
        protocol=2,
        socket_timeout=answers_s,
        socket_connect_timeout=connects_s,
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
"""Ends the epoch on a server with another run id, because that server may have lost data: see routing/epochs.py."""


def introduce(connection: Any) -> None:
    """Set up a new connection, and end the epoch if it did not begin on this server.

    This precedes every other command on the connection, so no script of ours runs in an epoch that is over.
    """
    connection.on_connect()
    connection.send_command("INFO", "server")
    run = run_id(connection.read_response())
    connection.send_command("EVAL", DISTRUST, 0, run)
    connection.read_response()


def run_id(info: bytes | str) -> str:
    """Extract the server's run id from the answer to INFO.

    Raises StoreError if it has none.
    """
    text = info.decode() if isinstance(info, bytes) else info
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "run_id":
            return value
    raise RedisError("INFO names no run_id: the engine needs Redis 7 or Valkey, without a proxy before it")


READINGS = 5
QUICK_S = 0.001
"""Maximum clock reads per resync, and the round-trip time in seconds at which one read is good enough."""
DOUBTED_S = 1.0
"""Resync interval while the clock is in doubt: a venue whose own clock is ahead may raise doubts all the time."""


class StoreClock:
    """Epoch milliseconds by Redis' clock, so that the clocks of two machines are never compared.

    Between two reads of Redis' clock, the local monotonic clock is used.
    """

    def __init__(self, resync_s: float = 10.0) -> None:
        self.resync_s = self.due_s = resync_s
        self.offset_ms = time.time() * 1000 - time.monotonic() * 1000
        self.synced_at = float("-inf")

    def __call__(self) -> int:
        """Return the store's current time; while the store is down, it is computed with the last known offset."""
        local = time.monotonic()
        if local - self.synced_at > self.due_s:
            self.synced_at, self.due_s = local, self.resync_s
            self.resync()
        return int(time.monotonic() * 1000 + self.offset_ms)

    def doubt(self) -> None:
        """Read the store's clock sooner than usual, because it may have stepped back."""
        self.due_s = DOUBTED_S

    def resync(self) -> None:
        """Read the store's clock.

        A read is assigned to the moment its answer arrived, so this clock is never ahead of the store's, and behind it
        by at most the duration of the call.  On a busy machine several calls are made, and the shortest counts.
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
"""The beginning of scripts that need the time: `now` is Redis' clock in epoch milliseconds."""


def script(source: str) -> Any:
    """Return a function that returns the Lua script; it runs by hash, and is loaded again if Redis lost it."""
    return cache(lambda: redis().register_script(source))


def lua(path: Path) -> str:
    """Read a Lua file, to be used as a script or as the prefix of one."""
    return path.read_text("utf-8") + "\n"
