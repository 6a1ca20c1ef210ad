"""A Valkey of the run's own: killed, frozen, emptied, rolled back by up to seconds, its clock set."""

import os
import signal
import threading
import time
from collections import deque
from pathlib import Path

import redis

from deploy.valkey import Valkey
from tests.chaos.grounds.clock import Clock

SAMPLE_S = 0.02
KEPT = 500
"""Samples of the append-only file's length that are kept: ten seconds."""


class Redis(Valkey):
    """One durable server: append-only, written to disk every second, as in production."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.clock = Clock(folder / "redis-clock")
        self.lengths: deque[tuple[float, Path, int]] = deque(maxlen=KEPT)
        self.over = threading.Event()
        self.watch = threading.Thread(target=self.sample, name="append-only file", daemon=True)

    def start(self) -> None:
        """Start for the first time, and wait until it answers."""
        self.home.mkdir(parents=True)
        self.spawn()
        self.finish()
        self.watch.start()

    def spawn(self) -> None:
        """Start the server process on the clock that can be set."""
        with self.clock.inherited():
            super().spawn()
        self.clock.pids.append(self.pid)

    def client(self) -> "redis.Redis":
        """Connect, for a command of the run's own."""
        return redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=1)

    def die(self) -> None:
        """End at once, without a last write."""
        if self.process is not None and self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.wait(10)

    def freeze(self) -> None:
        """Stand still."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGCONT)

    def empty(self) -> None:
        """Forget everything."""
        self.client().flushall()

    def written(self, seconds: float) -> int:
        """Return how many bytes were written in the last seconds."""
        file = self.newest()
        return file.stat().st_size - self.length_before(file, seconds) if file else 0

    def length_before(self, file: Path, seconds: float) -> int:
        """Return how long the append-only file was so long ago."""
        before = time.monotonic() - seconds
        # A copy, made in one step: the sampling thread goes on.
        known = [length for at, path, length in self.lengths.copy() if path == file and at <= before]
        return known[-1] if known else file.stat().st_size

    def roll_back(self, seconds: float) -> int:
        """Die, and lose the last writes, as a machine does whose disk has not got them; return how many bytes.

        What is cut in the middle of a command the server drops at its start.
        """
        file = self.newest()
        assert file is not None
        length = self.length_before(file, seconds)
        self.die()
        lost = file.stat().st_size - length
        os.truncate(file, length)
        return lost

    def newest(self) -> Path | None:
        """Return the file that writes are appended to."""
        files = (self.home / "appendonlydir").glob("*.incr.aof")
        return max(files, key=lambda path: int(path.name.split(".")[-3]), default=None)

    def sample(self) -> None:
        """Note again and again how long the append-only file is."""
        while not self.over.wait(SAMPLE_S):
            file = self.newest()
            if file is not None and self.poll() is None:
                self.lengths.append((time.monotonic(), file, file.stat().st_size))

    def close(self) -> None:
        """End for good."""
        self.over.set()
        self.thaw()
        self.kill()
        self.clock.tidy()
