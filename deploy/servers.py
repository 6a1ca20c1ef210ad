"""What the embedded servers share: a child that cannot outlive the launcher, a port, and what is left of a crash."""

import contextlib
import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from config.env import SECRETS

PORTS = range(15_000, 32_000)
"""Below Linux's ephemeral range: a client that retries a port in that range can end up connected to itself."""
PRIVATE = 0o077
"""The umask of all that writes into the data dir: orders are read by their owner alone."""
ROTATE_AT = 20_000_000
"""Bytes at which a log is set aside as `.1` before the next start writes to it."""
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15

_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


class StoreFailed(Exception):
    """An embedded server cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Account:
    """The operating system account a server runs as."""

    uid: int
    gid: int
    name: str

    @classmethod
    def of(cls, uid: int) -> "Account":
        """Look an account up by number; an unnamed one gets its number as its name."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(uid, uid, str(uid))
        return cls(uid, entry.pw_gid, entry.pw_name)


def die_with_parent(parent: int, with_signal: int) -> None:
    """This will have the kernel send `with_signal` to this process when the thread that made it ends (Linux).

    Call it in the child, after any change of user, which would undo it.
    """
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, with_signal, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def name_process(name: str) -> None:
    """Give this process a name of its own in `ps -o comm` and `top` (Linux, 15 characters)."""
    if _prctl is not None:
        _prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    account: Account | None,
    on_orphan: int,
    feed: str = "",
    environ: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, so that Ctrl-C reaches only the launcher.

    `on_orphan` is the signal it gets when the launcher is gone; `feed` is what it reads on standard input, where no
    process list shows it; `environ` is added to our environment.  Raises StoreFailed.
    """
    parent = os.getpid()
    with open_log(log) as out:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                cwd=cwd,
                start_new_session=True,
                umask=PRIVATE,
                preexec_fn=lambda: die_with_parent(parent, on_orphan),  # noqa: PLW1509 (one thread)
                **{"env": {**os.environ, **environ}, **as_account(account)},
            )
        except OSError as problem:
            raise StoreFailed(f"{command[0]} cannot be started: {problem}") from problem
    assert process.stdin
    with contextlib.suppress(BrokenPipeError), process.stdin as standard_input:
        standard_input.write(feed.encode())
    return process


def as_account(account: Account | None) -> dict[str, Any]:
    """Popen's arguments for running as that account; none for our own."""
    if account is None:
        return {}
    # Whoever else runs as that account can read its processes' environment.
    environ = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return {"user": account.uid, "group": account.gid, "extra_groups": [], "env": environ}


def open_log(path: Path) -> BinaryIO:
    """Open a log for appending, setting a large one aside first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > ROTATE_AT:
        path.replace(path.with_name(path.name + ".1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def last_lines(path: Path, count: int, since: int = 0) -> list[str]:
    """The last `count` lines a log gained after byte `since`."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= size else 0, size - 64 * 1024))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on right now."""
    return KeptPort().number


class KeptPort:
    """A TCP port on 127.0.0.1 for one server: on Linux nobody else gets it while this exists, listened on or not.

    It is bound first without SO_REUSEADDR, which fails where anybody has it; a server that sets the option, as
    PostgreSQL and Valkey do, may then listen on it beside us, and listen again after it died.  Raises StoreFailed.
    """

    def __init__(self) -> None:
        for self.number in random.sample(PORTS, 200):
            self._socket = socket.socket()
            try:
                self._socket.bind(("127.0.0.1", self.number))
            except OSError:
                self._socket.close()
            else:
                break
        else:
            raise StoreFailed(f"no free port between {PORTS.start} and {PORTS.stop} on 127.0.0.1")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform != "linux":
            self._socket.close()

    def __del__(self) -> None:
        self._socket.close()


def wait_for(condition: Callable[[], bool], seconds: float, every: float = 0.01) -> bool:
    """Whether the condition came true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def left_behind(folder: Path, program: str) -> list[int]:
    """Processes of that program working in that folder: what a killed launcher left (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().strip() == program and (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def end_left_behind(folder: Path, program: str) -> None:
    """End servers that still work on our data; two of them on one folder would destroy it.

    The caller holds the data dir's lock, so whoever is found here belongs to nobody.  Raises StoreFailed.
    """
    for attempt in (0, signal.SIGQUIT, signal.SIGKILL):
        for pid in left_behind(folder, program):
            send(pid, attempt)
        if wait_for(lambda: not left_behind(folder, program), 2.0):
            return
    raise StoreFailed(f"a {program} of an earlier start still runs in {folder} and does not end")


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def delete(path: Path) -> None:
    """Delete a folder with all in it, or a file, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, never readable by others even for a moment."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
