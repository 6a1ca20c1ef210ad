"""The embedded PostgreSQL: where its binaries come from, whose account it runs under, its start and its end."""

import os
import re
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from deploy.accounts import account_for, fallback_home, home_for, prepare_home
from deploy.installation import copy_binaries, find_binaries
from deploy.servers import (
    Account,
    KeptPort,
    StoreFailed,
    as_account,
    delete,
    end_left_behind,
    last_lines,
    send,
    spawn,
    wait_for,
    write_secret,
)

DATABASE = "engine"
USER = "engine"

LAPTOP = {
    "listen_addresses": "127.0.0.1",
    # TCP only: a socket's path has a length limit that a deep folder breaks.
    "unix_socket_directories": "",
    # Every role four times over, and those who look in.
    "max_connections": "350",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    # Short statements on few cores: starting helpers costs more than they save.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # Nobody replicates from this server.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
DURABLE = {"synchronous_commit": "on"}
THROWAWAY = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class Postgres:
    """One embedded PostgreSQL server and its data.

    `begin` starts what takes time and returns the URL; `finish` waits until the server answers.  Between the two the
    caller can do something else.  Both raise StoreFailed.
    """

    name = "postgres"

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir = data_dir.resolve()
        self.durable = durable
        self.log = data_dir / "logs" / "postgres.log"
        self.binaries = find_binaries()
        self.account = account_for(data_dir)
        self.home = home_for(data_dir, self.account)
        self.pgdata = self.home / "postgres"
        self._kept = KeptPort()
        self.port = self._kept.number
        self.process: subprocess.Popen[bytes] | None = None
        self._initdb: subprocess.Popen[bytes] | None = None
        self._secret = self.home / ".initdb"
        self._log_start = 0

    @property
    def note(self) -> str:
        """What the user should know about where the data lives; empty when it is where expected."""
        if self.account is None:
            return ""
        place = "" if self.home == self.data_dir else f", with its data in {self.home}: it cannot enter {self.data_dir}"
        return f"PostgreSQL refuses root and runs as `{self.account.name}`{place}"

    @property
    def url(self) -> str:
        """The address applications connect to, password included."""
        return f"postgresql://{USER}:{self._password()}@127.0.0.1:{self.port}/{DATABASE}"

    def begin(self) -> str:
        """Start the server, or the making of its data on the first start."""
        prepare_home(self.home, self.data_dir, self.account)
        if self.account is not None and self.binaries.embedded:
            self.binaries = copy_binaries(self.binaries, self.home)
        self._check_data()
        if self.pgdata.is_dir():
            self.spawn()
        else:
            self._begin_initdb()
        return self.url

    def finish(self, seconds: float = 60.0) -> None:
        """Wait until the server accepts connections."""
        if self._initdb is not None:
            self._finish_initdb(seconds)
            self.spawn()
        if not wait_for(lambda: self.poll() is not None or self.ready(), seconds):
            raise StoreFailed(f"PostgreSQL does not answer after {seconds:.0f} s; its log is {self.log}")
        if self.poll() is not None:
            raise StoreFailed(self._explain("PostgreSQL did not start"))

    def spawn(self) -> None:
        """Start the server process on existing data; used again when it died."""
        end_left_behind(self.pgdata, "postgres")
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        settings = LAPTOP | (DURABLE if self.durable else THROWAWAY) | {"port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # An orphan quits at once, without the checkpoint a slow disk could stretch: the next start replays the log.
        self.process = spawn(
            [self.binaries.bin / "postgres", "-D", self.pgdata, *options],
            log=self.log,
            cwd=self.home,
            account=self.account,
            on_orphan=signal.SIGQUIT,
        )

    def ready(self) -> bool:
        """Whether the server says of itself that it accepts connections (last line of its pid file)."""
        try:
            lines = (self.pgdata / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    @property
    def pid(self) -> int:
        """The server's process id; 0 before it started."""
        return self.process.pid if self.process else 0

    def poll(self) -> int | None:
        """The server's exit code, or None while it runs."""
        return self.process.poll() if self.process else None

    def stop(self, seconds: float = 8.0) -> None:
        """Fast shutdown: open transactions are rolled back and everything is written; then less gently."""
        self._abandon_initdb()
        if self.process is None:
            return
        for number, patience in ((signal.SIGINT, seconds), (signal.SIGQUIT, 2.0), (signal.SIGKILL, 2.0)):
            if self.poll() is None:
                send(self.pid, number)
                wait_for(lambda: self.poll() is not None, patience)

    def kill(self) -> None:
        """Immediate shutdown, nothing written; the next start recovers from the log."""
        self._abandon_initdb()
        if self.poll() is None and self.process is not None:
            send(self.pid, signal.SIGQUIT)
            wait_for(lambda: self.poll() is not None, 2.0)

    def wipe(self) -> None:
        """Delete the data."""
        for path in self.held():
            delete(path)

    def held(self) -> list[Path]:
        """Return where the data and its password may be, once nobody works on them."""
        end_left_behind(self.pgdata, "postgres")
        homes = {self.data_dir, self.home, fallback_home(self.data_dir)}
        folders = [home / name for home in homes for name in ("postgres", "postgres.new")]
        return [*folders, self.data_dir / "postgres-password"]

    def _password(self) -> str:
        path = self.data_dir / "postgres-password"
        if not path.exists():
            write_secret(path, secrets.token_urlsafe(24))
        return path.read_text()

    def _check_data(self) -> None:
        """Refuse data of another account, another version or no version; each with what to do."""
        if not self.pgdata.is_dir():
            return
        owner = self.pgdata.stat().st_uid
        if os.geteuid() not in (0, owner):
            raise StoreFailed(
                f"{self.pgdata} belongs to `{Account.of(owner).name}`: it was made by another account, or by root.\n"
                "Start as that account, or set ENGINE_DATA_DIR to a folder of your own.",
            )
        version = self.pgdata / "PG_VERSION"
        made_by = version.read_text().strip() if version.is_file() else ""
        if not made_by.isdigit():
            raise StoreFailed(
                f"{self.pgdata} is damaged: its PG_VERSION is missing or unreadable.\n"
                "Restore it from a copy, or `python3 manage.py up --fresh` deletes it and starts empty.",
            )
        if int(made_by) != self.binaries.major:
            raise StoreFailed(
                f"{self.pgdata} was made by PostgreSQL {made_by}; this is PostgreSQL {self.binaries.major}, "
                "which cannot read it.\n"
                f"`python3 manage.py up --fresh` deletes it and starts empty; to keep it, serve it with a PostgreSQL "
                f"{made_by} and set DATABASE_URL.",
            )

    def _begin_initdb(self) -> None:
        """Make the data in a folder beside its final place: an interrupted start is then simply done again."""
        making = self.home / "postgres.new"
        if making.is_dir():
            end_left_behind(making, "postgres")
            shutil.rmtree(making)
        making.mkdir(mode=0o700)
        self._secret = self.home / f".initdb-{secrets.token_hex(8)}"
        write_secret(self._secret, self._password())
        for path in (making, self._secret):
            self._give(path)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._initdb = spawn(
            [
                self.binaries.bin / "initdb",
                *("-D", making, "--username", USER, "--pwfile", self._secret, "--auth", "scram-sha-256"),
                *("--encoding", "UTF8", "--locale", "C"),
                *([] if self.durable else ["--no-sync"]),
            ],
            log=self.log,
            cwd=self.home,
            account=self.account,
            on_orphan=signal.SIGKILL,
        )

    def _finish_initdb(self, seconds: float) -> None:
        assert self._initdb is not None
        try:
            code = self._initdb.wait(seconds)
        except subprocess.TimeoutExpired:
            self._abandon_initdb()
            raise StoreFailed(f"PostgreSQL took over {seconds:.0f} s to make its data; its log is {self.log}") from None
        self._secret.unlink(missing_ok=True)
        self._initdb = None
        if code != 0:
            raise StoreFailed(self._explain("PostgreSQL could not make its data"))
        self._create_database()
        (self.home / "postgres.new").rename(self.pgdata)

    def _create_database(self) -> None:
        """Create our database in single-user mode, which needs no client library."""
        with self.log.open("ab") as log:
            made = subprocess.run(
                [self.binaries.bin / "postgres", "--single", "-D", self.home / "postgres.new", "postgres"],
                input=f"CREATE DATABASE {DATABASE};\n".encode(),
                stdout=log,
                stderr=log,
                cwd=self.home,
                check=False,
                **as_account(self.account),
            )
        if made.returncode != 0:
            raise StoreFailed(self._explain("PostgreSQL could not create the database"))

    def _abandon_initdb(self) -> None:
        if self._initdb is None:
            return
        self._initdb.kill()
        self._initdb.wait()
        self._secret.unlink(missing_ok=True)
        self._initdb = None

    def _give(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def _explain(self, what: str) -> str:
        lines = last_lines(self.log, 12, self._log_start)
        said = "\n".join(lines)
        shown = "\n".join(f"  postgres: {line}" for line in lines)
        if "No space left on device" in said:
            return f"{what}: the disk that holds {self.home} is full. Free some space and start again."
        if "could not bind" in said or "Address already in use" in said:
            return f"{what}: port {self.port} was taken at that moment. Start again."
        if re.search(
            r"PANIC|are incompatible with server|invalid (primary )?checkpoint|could not (locate|read)|corrupt", said
        ):
            return (
                f"{shown}\n{what}: its data in {self.pgdata} is damaged. Restore it from a copy, or\n"
                "`python3 manage.py up --fresh` deletes it and starts empty."
            )
        return f"{shown}\n{what}; the whole log is {self.log}"
