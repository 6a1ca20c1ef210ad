"""The whole engine on hosts of its own: each role on two, each store on one; no disk and no name is shared."""

import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from redis.exceptions import RedisError

from config.env import PREFIXES, SECRETS
from deploy import alone, postgres, servers, valkey
from deploy.roles import WORKERS, http_status
from deploy.servers import wait_for
from tests.bearer import bearer
from tests.hosts.network import Host, Network
from tests.stores import FUNDS
from tests.system import eventually

ROLES = ("api", *WORKERS, "beat")
API_PORT, METRICS_PORT = 8000, 9700
READY_S = 240.0
SUPERUSER = ["createsuperuser", "--noinput", "--email", "ops@example.invalid"]
KEY = ["apikeys", "create", "tests", "--owner", "ops"]
"""Some twenty processes import the application at once."""
HOLDER = (
    "SELECT host(client_addr) FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32 | objid::bigint) = %s"
)


@dataclass
class Cluster:
    """A running engine; the ledgers ask it as they ask one that `up` runs."""

    network: Network
    folder: Path
    settings: Mapping[str, str]
    hosts: dict[str, list[Host]] = field(default_factory=dict)
    placed: int = 0
    """Orders that were placed so far: the tests share the engine."""
    failing: int = 0
    """How many of them fail for their own sake."""
    api_key: str = ""
    """What its clients send."""

    def start(self) -> None:
        """Start the stores, migrate, and start every role twice."""
        self.hosts = {role: [self.network.host(f"{role}{n}") for n in (1, 2)] for role in ROLES}
        self.database_url = start_postgres(self.network.host("postgres"), self.folder)
        self.redis_url = start_valkey(self.network.host("valkey"), self.folder)
        self.secret_key, self.pepper = secrets.token_urlsafe(50), secrets.token_urlsafe(32)
        # A replay begins at one moment for all.
        self.settings = {**self.settings, "MARKET_REPLAY_START": f"{time.time():.3f}"}
        self.migrate()
        self.api_key = self.make_key()
        for role, hosts in self.hosts.items():
            for host in hosts:
                self.start_role(role, host)
        for role in ROLES:
            self.await_ready(role)

    def migrate(self) -> None:
        """Make the tables."""
        host = self.hosts["api"][0]
        process = self.start_role("migrate", host)
        code = process.wait(READY_S)
        assert code == 0, (self.folder / "logs" / f"{host.name}.log").read_text()[-3000:]

    def make_key(self) -> str:
        """Have a key made as an operator does, by a command where the API runs."""
        host, out = self.hosts["api"][0], self.folder / "key"
        for command in (SUPERUSER, KEY):
            environ = self.environ(host) | {
                "DJANGO_SUPERUSER_USERNAME": "ops",
                "DJANGO_SUPERUSER_PASSWORD": self.pepper,
            }
            process = host.start([sys.executable, "manage.py", *command], out, environ | {"ENGINE_NO_VENV": "1"})
            assert process.wait(READY_S) == 0, out.read_text()[-3000:]
        return next(line for line in out.read_text().splitlines() if line.startswith("oek_"))

    def start_role(self, role: str, host: Host) -> Any:
        """Start a role on a host, as its container would."""
        return host.start([sys.executable, "-m", "deploy.role", role], self.log(host), self.environ(host))

    def environ(self, host: Host) -> dict[str, str]:
        """Return what the container of a host is told."""
        given = (*PREFIXES, *SECRETS)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(given)}
        environ |= {
            **FUNDS,
            **self.settings,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "ENGINE_SECRET_KEY": self.secret_key,
            "ENGINE_KEY_PEPPER": self.pepper,
            "ENGINE_DATA_DIR": str(self.folder / "data" / host.name),
            "ENGINE_HOST": host.address,
            "ENGINE_PORT": str(API_PORT),
            "ENGINE_METRICS_HOST": "0.0.0.0",
            "ENGINE_METRICS_PORT": str(METRICS_PORT),
            "ENGINE_ALLOWED_HOSTS": f"{host.address},*",
        }
        return environ

    def log(self, host: Host) -> Path:
        """Return where a host's processes write."""
        return self.folder / "logs" / f"{host.name}.log"

    def await_ready(self, role: str) -> None:
        """Return once every host of the role is ready; one whose process has ended is started again, as anywhere."""
        for host in self.hosts[role]:
            eventually(lambda host=host: self.is_ready(role, host), READY_S, f"{host.name} is ready: {self.log(host)}")
        if role in WORKERS:
            queue = f'engine_workers_alive{{queue="{role}"}}'
            eventually(lambda: self.alive(role) == len(self.hosts[role]), READY_S, f"{queue} counts every host")

    def is_ready(self, role: str, host: Host) -> bool:
        """Ask a host's process as a readiness probe does."""
        if all(process.poll() is not None for process in host.started):
            self.start_role(role, host)
        return self.answers(host)

    def answers(self, host: Host) -> bool:
        """Tell whether a host's process answers that it is ready."""
        return http_status(host.address, METRICS_PORT, "/readyz", host.address, 2.0) == 200

    def alive(self, queue: str) -> int:
        """Count a queue's workers that say they live, as any API host tells."""
        answer = httpx.get(f"{self.url}/metrics?part=stores", timeout=10, trust_env=False)
        return int(total(answer.text, "engine_workers_alive", queue=queue))

    def counted(self, host: Host, name: str, **labels: str) -> float:
        """Return what the process of a host has counted."""
        answer = httpx.get(f"http://{host.address}:{METRICS_PORT}/metrics", timeout=10, trust_env=False)
        return total(answer.text, name, **labels)

    def beating(self) -> list[str]:
        """Return the addresses of the beats that may tick: never more than one."""
        with self.postgres() as db:
            return [str(row[0]) for row in db.execute(HOLDER, (alone.LOCK,)).fetchall()]

    @property
    def apis(self) -> list[str]:
        """Where the API is."""
        return [f"http://{host.address}:{API_PORT}" for host in self.hosts["api"]]

    @property
    def url(self) -> str:
        """Where it is first."""
        return self.apis[0]

    @property
    def headers(self) -> dict[str, str]:
        """What every request and every handshake of a client sends."""
        return bearer(self.api_key)

    def postgres(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Connect to its Postgres."""
        return psycopg.connect(self.database_url, autocommit=True)

    def redis(self) -> Redis:
        """Connect to its Redis."""
        return Redis.from_url(self.redis_url, decode_responses=True)


def total(exposition: str, name: str, **labels: str) -> float:
    """Add up the samples of that name which have those labels."""
    families = text_string_to_metric_families(exposition)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def start_postgres(host: Host, folder: Path) -> str:
    """Have the embedded server make its data, then run it at the host's address; return its URL, password included."""
    made = postgres.Postgres(folder)
    made.begin()
    made.finish()
    made.stop()
    with (made.pgdata / "pg_hba.conf").open("a") as access:
        access.write(f"host all all {host.address}/24 scram-sha-256\n")
    settings = {
        **postgres.LAPTOP,
        **postgres.DURABLE,
        "listen_addresses": host.address,
        "port": "5432",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [made.binaries.bin / "postgres", "-D", made.pgdata, *options]
    made.process = host.start(command, folder / "logs" / "postgres.log", {"LC_ALL": "C"}, made.account)
    assert wait_for(made.ready, 60.0), (folder / "logs" / "postgres.log").read_text()[-3000:]
    return made.url.replace(f"127.0.0.1:{made.port}", f"{host.address}:5432")


def start_valkey(host: Host, folder: Path) -> str:
    """Run the embedded server at the host's address; return its URL, password included."""
    data, password = folder / "valkey", secrets.token_urlsafe(24)
    data.mkdir()
    settings = f'{valkey.LAPTOP}{valkey.DURABLE}bind {host.address}\nport 6379\ndir "{data}"\nrequirepass {password}\n'
    servers.write_secret(folder / "valkey.conf", settings)
    host.start([valkey.find_binary(), folder / "valkey.conf"], folder / "logs" / "valkey.log", {})
    url = f"redis://:{password}@{host.address}:6379/0"
    eventually(lambda: pings(url), 60, f"Valkey answers at {host.address}: {folder / 'logs' / 'valkey.log'}")
    return url


def pings(url: str) -> bool:
    """Tell whether a Redis answers."""
    try:
        return bool(Redis.from_url(url).ping())
    except RedisError:
        return False


@contextmanager
def cluster(settings: Mapping[str, str]) -> Iterator[Cluster]:
    """Run an engine on hosts of its own for a while, with empty stores."""
    with (
        TemporaryDirectory(prefix="order-engine-hosts-", ignore_cleanup_errors=True) as folder,
        Network() as network,
    ):
        # PostgreSQL's own account must be able to pass through.
        Path(folder).chmod(0o711)
        engine = Cluster(network, Path(folder), settings)
        engine.start()
        yield engine
