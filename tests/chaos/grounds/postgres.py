"""A PostgreSQL of the run's own: killed, frozen, read-only, its connections terminated, its clock set forward."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from deploy import postgres
from tests.chaos.grounds.clock import Clock

READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = {}"
TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class Postgres(postgres.Postgres):
    """One durable server: a commit is on disk before it is answered."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.clock = Clock(folder / "postgres-clock")

    def start(self) -> None:
        """Make the data, start, and wait until it answers."""
        self.begin()
        self.finish()

    def spawn(self) -> None:
        """Start the server process on the clock that can be set."""
        with self.clock.inherited():
            super().spawn()
        self.clock.pids.append(self.pid)

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Connect, for a statement of the run's own, whatever the server's mood."""
        options = "-c default_transaction_read_only=off -c statement_timeout=5000"
        return psycopg.connect(self.url, autocommit=True, connect_timeout=3, options=options)

    def family(self) -> list[int]:
        """Return the process ids of the server and of all it has forked."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        with suppress(OSError):
            return [self.pid, *map(int, children.read_text().split())]
        return []

    def die(self) -> None:
        """End at once, all of it; the next start recovers from the log."""
        for pid in self.family():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)

    def freeze(self) -> list[int]:
        """Stand still, all of it; return who does."""
        # The parent first: a child it forks meanwhile would go on.
        frozen = []
        for _ in range(2):
            for pid in self.family():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    frozen.append(pid)
        return frozen

    def thaw(self) -> None:
        """Go on."""
        for pid in reversed(self.family()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def terminate(self) -> int:
        """Break every connection; return how many there were."""
        with self.connect() as db:
            row = db.execute(TERMINATE).fetchone()
        return int(row[0]) if row else 0

    def refuse_writes(self, refuse: bool) -> None:
        """Let every transaction be read-only from now on, as a stand-by's are, or no longer."""
        with self.connect() as db:
            db.execute(READ_ONLY.format("on" if refuse else "off"))
            db.execute("SELECT pg_reload_conf()")

    def close(self) -> None:
        """End for good."""
        self.thaw()
        self.kill()
        self.clock.tidy()
