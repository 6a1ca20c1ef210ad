"""The whole engine as separate processes, started as its user would: for flows, chaos and load."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg
from redis import Redis as Client

from config.env import PREFIXES, ROOT
from deploy.servers import KeptPort, free_port
from tests.bearer import bearer
from tests.stands import RabbitMQ, Redis, Stand, asked_for, running, start_again
from tests.stores import FUNDS

READY_S = 60.0
STORES = ("DATABASE_URL", "REDIS_URL", "BROKER_URL")
NO_DELAYS = {"MOCK_QUOTE_DELAY_MS": "0", "MOCK_CONFIRM_DELAY_MS": "0"}


def eventually(check: Callable[[], Any], within_s: float, what: str) -> Any:
    """Return the first true answer of `check`, or fail once the time is up."""
    deadline = time.monotonic() + within_s
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)


def outside() -> dict[str, str]:
    """Return this process's environment without any setting of an engine: without what the tests themselves run on."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES) and name not in STORES}


SECRETS = ("admin-password", "api-key", "desk-link", "key-pepper", "postgres-password", "secret-key", "valkey-password")
"""Files in the data directory that hold nothing but a secret."""


@dataclass
class System:
    """A running engine."""

    settings: dict[str, str]
    arguments: tuple[str, ...]
    data_dir: Path
    kept: KeptPort = field(default_factory=KeptPort)
    stands: dict[Stand, RabbitMQ | Redis] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def port(self) -> int:
        """The port of its API, kept for it from before it starts."""
        return self.kept.number

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """Where its sockets are."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def api_key(self) -> str:
        """The API key that its launcher made; empty if it made none."""
        path = self.data_dir / "api-key"
        return path.read_text().strip() if path.exists() else ""

    @property
    def headers(self) -> dict[str, str]:
        """What every request and every handshake of a client sends."""
        return bearer(self.api_key)

    @cached_property
    def session(self) -> dict[str, str]:
        """The cookie of somebody who has logged in at the desk, as browsers keep it."""
        with httpx.Client(base_url=self.url, trust_env=False) as http:
            http.get("/login/")
            words = {"username": "admin", "password": (self.data_dir / "admin-password").read_text().strip()}
            told = {**words, "csrfmiddlewaretoken": http.cookies["engine_csrf"]}
            answer = http.post("/login/", data=told, headers={"referer": f"{self.url}/login/"})
            assert answer.status_code == 302, answer.text
            return {"name": "engine_session", "value": http.cookies["engine_session"], "url": self.url}

    @property
    def stores(self) -> dict[str, str]:
        """The addresses of stores that are not the launcher's own."""
        return {stand.setting: server.url for stand, server in self.stands.items()}

    def environ(self) -> dict[str, str]:
        """Return what its processes are told besides its settings: nothing of what the tests themselves run on."""
        places = {"ENGINE_DATA_DIR": str(self.data_dir), "ENGINE_PORT": str(self.port), "ENGINE_NO_VENV": "1"}
        return {**outside(), "BROKER_URL": "", **FUNDS, **self.stores, **places}

    def start(self) -> None:
        """Start and wait until it says it is ready."""
        self.launch()
        eventually(self.is_ready, READY_S, f"the engine is ready; {self.data_dir / 'up.log'} says why not")

    def launch(self) -> None:
        """Start, and wait for nothing."""
        environ = {**self.environ(), "ENGINE_FLOWER_PORT": str(free_port()), **self.settings}
        log = (self.data_dir / "up.log").open("ab")
        command = [sys.executable, "manage.py", "up", "--no-flower", *self.arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True)

    def is_ready(self) -> bool:
        """Ask the API; fail at once when the launcher has ended."""
        assert self.process is not None
        assert self.process.poll() is None, (self.data_dir / "up.log").read_text()[-3000:]
        try:
            return (
                "ready in" in (self.data_dir / "up.log").read_text()
                and httpx.get(f"{self.url}/readyz").status_code == 200
            )
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """Stop in order, as Ctrl-C does."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)

    def secrets_in_logs(self) -> list[tuple[str, str]]:
        """Return which of its logs has which of its secrets."""
        secrets = {
            name: (self.data_dir / name).read_text().strip() for name in SECRETS if (self.data_dir / name).exists()
        }
        logs = [self.data_dir / "up.log", *sorted((self.data_dir / "logs").glob("*"))]
        texts = [(path.name, path.read_text(errors="replace")) for path in logs if path.is_file()]
        return [(log, name) for log, text in texts for name, secret in secrets.items() if secret in text]

    def pids(self) -> dict[str, int]:
        """Return the process ids by name."""
        running = json.loads((self.data_dir / "run.json").read_text())
        return {"launcher": running["pid"], **running["processes"]}

    def kill(self, name: str) -> None:
        """Kill one process without warning; like the launcher, a stand starts its own again."""
        for stand, server in self.stands.items():
            if stand.process == name:
                server.kill()
                start_again(server)
                return
        os.kill(self.pids()[name], signal.SIGKILL)

    def running(self) -> dict[str, Any]:
        """Return the addresses of the stores."""
        found: dict[str, Any] = json.loads((self.data_dir / "run.json").read_text())
        return {**found, **self.stores}

    def postgres(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Connect to its Postgres."""
        return psycopg.connect(self.running()["DATABASE_URL"], autocommit=True)

    def redis(self) -> Client:
        """Connect to its Redis."""
        return Client.from_url(self.running()["REDIS_URL"], decode_responses=True)

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a management command against it."""
        command = [sys.executable, "manage.py", *arguments]
        environ = {**self.environ(), **self.settings}
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def system(
    settings: dict[str, str] | None = None, *arguments: str, stands: list[Stand] | None = None
) -> Iterator[System]:
    """Run an engine of its own for a while, with empty stores: embedded ones, or those that are asked for."""
    with (
        tempfile.TemporaryDirectory(prefix="order-engine-system-", ignore_cleanup_errors=True) as folder,
        running(asked_for() if stands is None else stands, Path(folder)) as servers,
    ):
        # PostgreSQL's own account must be able to pass through.
        Path(folder).chmod(0o711)
        engine = System(settings or {}, arguments, Path(folder), stands=servers)
        try:
            engine.start()
            yield engine
        finally:
            engine.stop()
        assert engine.secrets_in_logs() == []


def quoted(engine: System) -> None:
    """Wait for the first quotes."""
    eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")


def is_settled(engine: System, count: int) -> Callable[[], bool]:
    """Make a check that `count` orders are final in Postgres."""

    def check() -> bool:
        with engine.postgres() as db:
            row = db.execute(
                "SELECT count(*) FROM orders_order WHERE status IN ('confirmed','failed','cancelled','expired')"
            ).fetchone()
        return row is not None and row[0] >= count

    return check
