"""Runs every role in the image as a container would: its own first process, another account, a root it cannot write.

Without a container engine: namespaces and a changed root, on this machine's network, with embedded stores.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.roles import SINGLE, WORKERS, http_status
from deploy.servers import free_port, last_lines, wait_for
from deploy.stores import Stores
from tests.bearer import bearer
from tests.deploy.image.build import CannotBuild, asked, buildah

READY_WITHIN_S = 120.0
SETTLED_WITHIN_S = 60.0
ENDS_WITHIN_S = 15.0
ROLES = ("api", *WORKERS, *SINGLE)
ORDER = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}
INSIDE = """\
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs -o mode=1777,size=64m tmpfs "$1/tmp"
mount -t tmpfs tmpfs "$1/run"
mkdir "$1/run/secrets"
cp "$2"/* "$1/run/secrets/"
shift 2
exec "$@"
"""
"""What an engine does before the command: $1 is the image's root, $2 the folder of secrets, the rest the command."""


@dataclass
class Running:
    """A role that was started."""

    role: str
    process: "subprocess.Popen[bytes]"
    log: Path
    port: int

    @property
    def pid(self) -> int:
        """The role's own process, as this machine counts; 0 when it has ended."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        return int(children.read_text().split()[0]) if children.exists() and children.read_text() else 0

    @property
    def memory_mb(self) -> int:
        """What it has of the machine's memory, as `top` shows it."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1000

    def is_ready(self) -> bool:
        """Ask as a readiness probe does; raises CannotBuild when it has ended instead."""
        if self.process.poll() is not None:
            raise CannotBuild(f"{self.role} ended with {self.process.returncode}:\n{words(self.log)}")
        return http_status("127.0.0.1", self.port, "/readyz", "localhost", 2.0) == 200


class Trial:
    """One run of all roles."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.folder = Path(tempfile.mkdtemp(prefix="order-engine-image-"))
        self.folder.chmod(0o711)
        self.running: list[Running] = []
        self.api_port = free_port()
        self.api_key = ""

    def run(self) -> None:
        """Migrate, start every role, have an order executed, stop every role; raises CannotBuild at what fails."""
        container = asked("from", "--pull-never", self.tag)
        try:
            self.root = Path(asked("mount", container))
            self.config = json.loads(asked("inspect", "--type", "image", self.tag))["OCIv1"]["config"]
            with Stores(self.folder / "stores", durable=False) as stores:
                self.give_secrets(stores.urls)
                self.tell_image()
                self.migrate()
                self.start_all()
                self.trade()
                self.stop_all()
        finally:
            for one in self.running:
                one.process.kill()
            buildah("rm", container)
            shutil.rmtree(self.folder, ignore_errors=True)

    def give_secrets(self, urls: Mapping[str, str]) -> None:
        """Write what every container gets as files."""
        (self.folder / "secrets").mkdir()
        given = {
            **urls,
            "ENGINE_SECRET_KEY": secrets.token_urlsafe(50),
            "ENGINE_KEY_PEPPER": secrets.token_urlsafe(32),
            "ENGINE_ADMIN_PASSWORD": secrets.token_urlsafe(),
        }
        for name, value in given.items():
            (self.folder / "secrets" / name).write_text(f"{value}\n")
            (self.folder / "secrets" / name).chmod(0o444)

    def tell_image(self) -> None:
        """Look for what must not be in the image and cannot be done in it."""
        found = self.command(
            "sh", "-c", "command -v pip pip3 gcc cc g++ make; id -u; touch /srv/engine/written || true"
        )
        said = found.stdout.decode().split()
        if said != ["10001"] or b"Read-only" not in found.stderr:
            raise CannotBuild(f"the image has tools, or another account, or can be written: {said} {found.stderr!r}")
        print("  no pip and no compiler, account 10001, the root cannot be written", flush=True)

    def migrate(self) -> None:
        """Run the role that everything waits for."""
        began = time.monotonic()
        done = self.command(*self.config["Entrypoint"], "migrate")
        if done.returncode:
            raise CannotBuild(f"migrate failed:\n{done.stdout.decode()}{done.stderr.decode()}")
        made = self.command("python3", "manage.py", "apikeys", "create", "trial", "--owner", "admin")
        if made.returncode:
            raise CannotBuild(f"no API key was made:\n{made.stderr.decode()}")
        self.api_key = made.stdout.decode().strip()
        self.tell("migrate", f"{done.stdout.decode().splitlines()[-1]}, in {time.monotonic() - began:.1f} s")

    def start_all(self) -> None:
        """Start the roles together and wait for each."""
        began = time.monotonic()
        self.running += [self.start(role) for role in ROLES]
        for one in self.running:
            if not wait_for(one.is_ready, READY_WITHIN_S, every=0.1):
                raise CannotBuild(f"{one.role} is not ready after {READY_WITHIN_S:.0f} s:\n{words(one.log)}")
            check = self.command("python3", "-m", "deploy.health", ENGINE_METRICS_PORT=str(one.port))
            if check.returncode:
                raise CannotBuild(f"{one.role} is ready, but its health check says: {check.stdout.decode()}")
            self.tell(
                one.role, f"ready after {time.monotonic() - began:.1f} s, health check: {check.stdout.decode().strip()}"
            )

    def start(self, role: str) -> Running:
        """Start one role, with ports of its own: here all share a network."""
        port, log = free_port(), self.folder / f"{role}.log"
        ports = {
            "ENGINE_METRICS_PORT": str(port),
            "ENGINE_PORT": str(self.api_port),
            "ENGINE_FLOWER_PORT": str(free_port()),
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                self.enter(*self.config["Entrypoint"], role, **ports), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        return Running(role, process, log, port)

    def trade(self) -> None:
        """Have one order executed by all of them together."""
        address = f"http://127.0.0.1:{self.api_port}/api/orders"
        page = httpx.get(f"http://127.0.0.1:{self.api_port}/static/admin/css/base.css", timeout=10)
        if page.status_code != 200:
            raise CannotBuild(
                f"the admin's style sheet is answered with {page.status_code}: were static files collected?"
            )
        with httpx.Client(headers=bearer(self.api_key), timeout=10) as client:
            placed = client.post(f"{address}/execute", json=ORDER).json()["orderId"]
            order = f"{address}/{placed}"
            if not wait_for(lambda: client.get(order).json()["status"] == "confirmed", SETTLED_WITHIN_S, every=0.2):
                raise CannotBuild(f"the order is not confirmed: {client.get(order).text}")
        self.tell("an order", "confirmed")

    def stop_all(self) -> None:
        """Ask every role to end, as an engine does; each must, by itself and with exit code 0."""
        for one in self.running:
            began, memory_mb = time.monotonic(), one.memory_mb
            os.kill(one.pid, signal.Signals[self.config.get("StopSignal", "SIGTERM")])
            try:
                code = one.process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                raise CannotBuild(f"{one.role} does not end within {ENDS_WITHIN_S:.0f} s:\n{words(one.log)}") from None
            if code:
                raise CannotBuild(f"{one.role} ended with exit code {code}:\n{words(one.log)}")
            self.tell(
                one.role, f"ended {time.monotonic() - began:.1f} s after SIGTERM, exit code 0; it had {memory_mb} MB"
            )

    def command(self, *command: str, **settings: str) -> "subprocess.CompletedProcess[bytes]":
        """Run a command in the image to its end."""
        return subprocess.run(
            self.enter(*command, **settings), capture_output=True, timeout=READY_WITHIN_S, check=False
        )

    def enter(self, *command: str, **settings: str) -> list[str]:
        """The command line that runs this in the image, as the image's configuration has it."""
        files = {f"{path.name}_FILE": f"/run/secrets/{path.name}" for path in (self.folder / "secrets").iterdir()}
        environment = [*self.config["Env"], *(f"{name}={value}" for name, value in {**files, **settings}.items())]
        inside = f'cd {self.config["WorkingDir"]} && exec "$@"'
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, "sh"),
            *(str(self.root), str(self.folder / "secrets")),
            *("chroot", f"--userspec={self.config['User']}", str(self.root), "/usr/bin/env", "-i", *environment),
            *("/bin/sh", "-c", inside, "sh", *command),
        ]

    def tell(self, who: str, what: str) -> None:
        """Show one line of the result."""
        print(f"  {who:<9} {what}", flush=True)


def words(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(last_lines(log, 15))
