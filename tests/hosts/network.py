"""Hosts of one machine's own: a network namespace each, with an address and a name, joined by one bridge (Linux, root).

Everything carries this process's id in its name: what a run leaves that was killed, the next one removes.
"""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from config.env import ROOT
from deploy.servers import Account
from tests.system import eventually

PREFIX = "oeh"
"""Beginning of every name made here; names of links have 15 characters at most."""
NETWORKS = range(100, 200)
"""Of 10.213.0.0/16, one /24 for each run."""
NAMED = 'hostname "$1" && shift && exec "$@"'


def why_not() -> str:
    """Say why there can be no hosts here; nothing when there can."""
    if os.geteuid() != 0:
        return "network namespaces are made by root, and this is not root"
    missing = [tool for tool in ("ip", "unshare", "setpriv", "hostname") if shutil.which(tool) is None]
    if missing:
        return f"these programs are missing: {', '.join(missing)} (Debian: iproute2, util-linux, hostname)"
    name = f"{PREFIX}{os.getpid()}-try"
    tried = run("ip", "netns", "add", name, check=False)
    run("ip", "netns", "delete", name, check=False)
    return f"this machine makes no network namespace: {tried.stderr.strip()}" if tried.returncode else ""


def run(*command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run a command; raises RuntimeError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done


@dataclass
class Host:
    """One host: where it is, and what was started on it."""

    name: str
    address: str
    namespace: str
    link: str
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(
        self, command: Sequence[str | Path], log: Path, environ: Mapping[str, str], account: Account | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a process on this host, which ends with this one; its id is the process's own."""
        who = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"] if account else []
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self.namespace, "unshare", "--uts"),
                    *("sh", "-c", NAMED, "sh", self.name),
                    *("setpriv", "--pdeathsig", "KILL", *who, *command),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(environ),
                # Not every account may enter this folder.
                cwd="/" if account else ROOT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def kill(self) -> None:
        """Kill all that runs on this host, by process id, and collect what was started."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.kill()
            process.wait(30)
        self.started.clear()
        eventually(lambda: not self.pids(), 30, f"nothing runs on {self.name}")

    def pids(self) -> list[int]:
        """Return the ids of what runs on this host."""
        return [int(pid) for pid in run("ip", "netns", "pids", self.namespace).stdout.split()]

    def cut(self) -> None:
        """Take its link down: nobody hears from it, and nobody is told."""
        run("ip", "link", "set", self.link, "down")

    def mend(self) -> None:
        """Take its link up again."""
        run("ip", "link", "set", self.link, "up")


class Network:
    """One bridge and the hosts on it; leaving it kills what runs there and removes everything."""

    def __init__(self) -> None:
        self.mark = f"{PREFIX}{os.getpid()}"
        self.bridge = f"{self.mark}br"
        self.hosts: list[Host] = []
        self.numbers = itertools.count(2)
        self.net = ""

    def __enter__(self) -> Self:
        remove(lambda name: not lives(name))
        self.net = free_net()
        try:
            run("ip", "link", "add", self.bridge, "type", "bridge")
            run("ip", "address", "add", f"{self.net}.1/24", "dev", self.bridge)
            run("ip", "link", "set", self.bridge, "up")
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def host(self, name: str) -> Host:
        """Add a host."""
        number = next(self.numbers)
        host = Host(name, f"{self.net}.{number}", f"{self.mark}-{name}", f"{self.mark}v{number}")
        run("ip", "netns", "add", host.namespace)
        self.hosts.append(host)
        run("ip", "link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        run("ip", "link", "set", host.link, "master", self.bridge, "up")
        for command in (
            ("address", "add", f"{host.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            run("ip", "-netns", host.namespace, *command)
        return host

    def remove(self) -> None:
        """Kill what runs on the hosts, then remove all of it."""
        try:
            for host in reversed(self.hosts):
                host.kill()
        finally:
            remove(lambda name: owner(name) == os.getpid())


def free_net() -> str:
    """Return the first three numbers of a /24 that no link of this machine has."""
    taken = run("ip", "-4", "address").stdout
    return next(net for net in (f"10.213.{n}" for n in NETWORKS) if f" {net}." not in taken)


def owner(name: str) -> int | None:
    """Return the id of the process that made what has this name; None for what is not ours."""
    found = re.match(rf"{PREFIX}(\d+)(-|br$|v\d)", name)
    return int(found[1]) if found else None


def lives(name: str) -> bool:
    """Tell whether something is not ours, or its maker still runs."""
    pid = owner(name)
    return pid is None or Path(f"/proc/{pid}").exists()


def remove(chosen: Callable[[str], bool]) -> None:
    """Remove the namespaces and links whose names are chosen; their processes have ended with who started them."""
    for namespace in json.loads(run("ip", "-json", "netns", "list").stdout or "[]"):
        if chosen(namespace["name"]):
            run("ip", "netns", "delete", namespace["name"])
    for link in json.loads(run("ip", "-json", "link", "show").stdout):
        # A namespace takes its end of a link with it, at a moment of the kernel's own.
        if owner(link["ifname"]) is not None and chosen(link["ifname"]):
            run("ip", "link", "delete", link["ifname"], check=False)
