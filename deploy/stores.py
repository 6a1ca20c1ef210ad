"""The embedded stores together: one lock per data dir, one file that tells other commands where they listen."""

import errno
import fcntl
import json
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from deploy.postgres import Postgres
from deploy.servers import StoreFailed, write_secret
from deploy.valkey import Valkey

SETTING = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL"}
OWN = ("lock", "logs", "metrics.json", "valkey")
"""What earlier versions let others read.  PostgreSQL closes its own folder, and every secret has always been closed."""


class Stores:
    """PostgreSQL and Valkey on one data dir, used by at most one launcher at a time.

    `external` names the settings (DATABASE_URL, REDIS_URL) the user has given: that server is not ours to start.
    Every method raises StoreFailed with a message for the user.
    """

    def __init__(self, data_dir: Path, *, external: frozenset[str] = frozenset(), durable: bool = True) -> None:
        self.data_dir = data_dir.resolve()
        self.external = external
        self.durable = durable
        self.servers: list[Postgres | Valkey] = []
        self.urls: dict[str, str] = {}
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> dict[str, str]:
        """Start the stores and wait until they answer; returns DATABASE_URL and REDIS_URL of those started."""
        self.open()
        try:
            urls = self.begin()
            self.finish()
        except BaseException:
            self.kill()
            raise
        return urls

    def open(self) -> None:
        """Make the data dir and lock it; refuses a second launcher on it."""
        try:
            refuse_shared(self.data_dir)
            (self.data_dir / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.data_dir / "lock").open("a+")
        except OSError as problem:
            raise StoreFailed(explain(problem, self.data_dir)) from problem
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreFailed(
                f"the engine is already running on {self.data_dir} (process {holder(self.data_dir)}).\n"
                "Stop that one first; a second one needs its own ENGINE_DATA_DIR, ENGINE_PORT and ENGINE_FLOWER_PORT.",
            ) from None
        self._lock = lock
        try:
            tighten(self.data_dir)
        except OSError as problem:
            raise StoreFailed(explain(problem, self.data_dir)) from problem
        # Whoever wrote this is gone: we hold the lock.
        (self.data_dir / "run.json").unlink(missing_ok=True)

    def forget_lock(self) -> None:
        """Close a forked child's copy of the lock, which would otherwise outlive the launcher."""
        if self._lock is not None:
            self._lock.close()

    def begin(self, *, fresh: bool = False) -> dict[str, str]:
        """Start what takes time; with `fresh`, on empty data.  Returns the addresses, known already now."""
        try:
            self.servers = self.make()
            for server in self.servers if fresh else ():
                server.wipe()
            self.urls = {SETTING[server.name]: server.begin() for server in self.servers}
        except OSError as problem:
            raise StoreFailed(explain(problem, self.data_dir)) from problem
        return self.urls

    def make(self) -> list[Postgres | Valkey]:
        """Return the servers that are ours to start; none is started."""
        return [
            make(self.data_dir, durable=self.durable)
            for make in (Postgres, Valkey)
            if SETTING[make.name] not in self.external
        ]

    def finish(self) -> None:
        """Wait until every store answers, then tell other commands."""
        for server in self.servers:
            try:
                server.finish()
            except OSError as problem:
                raise StoreFailed(explain(problem, self.data_dir)) from problem
        self.tell({})

    def tell(self, processes: dict[str, int], api: str = "") -> None:
        """Write run.json: addresses, the API's once it is known, our process id and those of the roles.

        Readable by its owner alone.
        """
        servers = {server.name: server.pid for server in self.servers}
        doors = {"API_URL": api} if api else {}
        content = {**self.urls, **doors, "pid": os.getpid(), "processes": servers | processes}
        making = self.data_dir / "run.json.new"
        write_secret(making, json.dumps(content, indent=1))
        making.replace(self.data_dir / "run.json")

    @property
    def notes(self) -> list[str]:
        """What the user should know about how the stores run."""
        return [server.note for server in self.servers if isinstance(server, Postgres) and server.note]

    def stop(self) -> None:
        """Stop Valkey, then PostgreSQL, and let go of the data dir."""
        for server in reversed(self.servers):
            server.stop()
        self._close()

    def kill(self) -> None:
        """End both at once; the next start recovers."""
        for server in reversed(self.servers):
            server.kill()
        self._close()

    def _close(self) -> None:
        if self._lock is None:
            return
        (self.data_dir / "run.json").unlink(missing_ok=True)
        self._lock.close()
        self._lock = None


def refuse_shared(data_dir: Path) -> None:
    """Raise StoreFailed for a folder such as /tmp, which must not be closed to others."""
    if data_dir.is_dir() and data_dir.stat().st_mode & stat.S_ISVTX:
        raise StoreFailed(f"{data_dir} is a folder for everybody. Set ENGINE_DATA_DIR to a folder of the engine's own.")


def tighten(data_dir: Path) -> None:
    """Close the data dir, and what is in it of ours, to everybody but its owner.  A link's target is left alone."""
    data_dir.chmod(0o700)
    for top in (data_dir / name for name in OWN):
        for path in [] if top.is_symlink() else [top, *top.rglob("*")]:
            if path.exists() and not path.is_symlink():
                path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)


def holder(data_dir: Path) -> str:
    """The process id of the launcher that runs on this data dir, as far as it has said so."""
    try:
        return str(json.loads((data_dir / "run.json").read_text())["pid"])
    except (OSError, ValueError, KeyError):
        return "still starting"


def explain(problem: OSError, data_dir: Path) -> str:
    """Turn what the operating system said into what to do."""
    if problem.errno == errno.ENOSPC:
        return f"the disk that holds {data_dir} is full. Free some space and start again."
    if problem.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{problem.filename or data_dir} may not be used by this account: it was made by another one.\n"
            "Start as that account, or set ENGINE_DATA_DIR to a folder of your own."
        )
    return f"the data dir {data_dir} cannot be used: {problem}"
