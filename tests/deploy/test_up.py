"""`manage.py up` itself: the real engine, its stores and all its processes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.roles import WORKERS
from deploy.servers import free_port
from tests.deploy.conftest import eventually, is_alive

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("postgres", "redis", "quotes", "workers")
pytestmark = pytest.mark.system


class Up:
    """A running `up` with a data dir and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.ports = (free_port(), free_port())
        self.output = folder / "output"
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")},
            "ENGINE_NO_VENV": "1",
            "ENGINE_DATA_DIR": str(self.data_dir),
            "ENGINE_PORT": str(self.ports[0]),
            "ENGINE_FLOWER_PORT": str(self.ports[1]),
        }
        self.process = self.start()

    def start(self, *options: str) -> subprocess.Popen:
        with self.output.open("w") as output:
            return subprocess.Popen(
                [sys.executable, "manage.py", "up", *options],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
            )

    def said(self) -> str:
        return self.output.read_text()

    def wait_ready(self) -> None:
        eventually(lambda: "Ctrl-C stops" in self.said() or self.process.poll() is not None, 90)
        assert self.process.poll() is None, self.said()

    def processes(self) -> dict[str, int]:
        return json.loads((self.data_dir / "run.json").read_text())["processes"]

    def status(self, path: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[0]}{path}", timeout=5) as answer:
            return answer.status


@pytest.fixture(scope="module")
def up():
    with tempfile.TemporaryDirectory(prefix="order-engine-up-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        engine = Up(Path(folder).resolve())
        try:
            engine.wait_ready()
            yield engine
        finally:
            engine.process.kill()
            engine.process.wait()


def test_everything_is_ready_and_the_printed_curl_places_an_order(up):
    roles = {"postgres", "valkey", "order", "limit", "sniper", "stream", "dbsync", "dlq", "api", "beat", "flower"}
    assert set(up.processes()) == roles
    curl = re.search(r"^  (curl .*)$", up.said(), flags=re.MULTILINE)[1]
    answer = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=20, check=False)
    assert " 202 " in answer.stdout.splitlines()[0]


def values(address: str) -> dict[tuple[str, ...], float]:
    """Read an address as Prometheus does: values by name and labels."""
    with urllib.request.urlopen(address, timeout=5) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {(s.name, *(v for _, v in sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def test_each_process_tells_what_it_has_counted_at_an_address_of_its_own(up):
    targets = json.loads((up.data_dir / "metrics.json").read_text())
    addresses = {target["labels"]["process"]: f"http://{target['targets'][0]}/metrics" for target in targets}
    assert set(addresses) == {*up.processes(), "stores"} - {"postgres", "valkey"}
    assert addresses["stores"] == f"http://127.0.0.1:{up.ports[0]}/metrics"
    assert f"metrics  {addresses['stores']}" in up.said()
    found = {process: values(address) for process, address in addresses.items()}
    assert len({one["process_start_time_seconds",] for one in found.values()}) > 1
    # The order of the test before; it is carried by one process, and archived by another.
    assert found["api"]["engine_orders_accepted_total", "market"] == 1
    eventually(lambda: values(addresses["order"]).get(("engine_orders_total", "confirmed", "market")) == 1)
    eventually(lambda: values(addresses["dbsync"]).get(("engine_order_seconds_count", "confirmed")) == 1)
    stores = values(addresses["stores"] + "?part=stores")
    assert {stores["engine_up", part] for part in ("redis", "postgres", "quotes", "resting")} == {1}
    assert all(stores["engine_workers_alive", queue] == 1 for queue in WORKERS)
    assert any(key[:2] == ("engine_quote_age_seconds", "SOL-USDC") for key in stores)


def test_ready_means_every_worker_lives_and_both_venues_quote(up):
    with urllib.request.urlopen(f"http://127.0.0.1:{up.ports[0]}/readyz", timeout=5) as answer:
        assert json.load(answer) == {"status": "ready", "parts": dict.fromkeys(PARTS, "ok")}


def test_a_role_killed_is_back_and_requests_meanwhile_wait_instead_of_failing(up):
    before = up.processes()["api"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: not is_alive(before))
    assert up.status("/readyz") == 200
    assert up.processes()["api"] != before
    assert "api ended (killed by SIGKILL); starting it again in 0.2 s" in up.said()
    kept = (up.data_dir / "logs" / "launcher.log").read_text().splitlines()
    assert any("api ended (killed by SIGKILL)" in json.loads(line)["event"] for line in kept)


def test_a_role_is_restarted_by_command(up):
    before = up.processes()
    done = subprocess.run(
        [sys.executable, "manage.py", "restart", "dlq", "--reason", "a test"],
        cwd=ROOT,
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "dlq: restarted, 1 process\n"), done.stderr
    after = up.processes()
    assert after.pop("dlq") != before.pop("dlq") and after == before
    assert "dlq ended as asked (exit code 0); starting it again" in up.said()


def test_a_second_up_is_refused_and_says_who_runs(up):
    second = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert second.returncode != 0
    assert f"already running on {up.data_dir} (process {up.process.pid})" in second.stderr
    assert up.process.poll() is None


def test_a_killed_launcher_leaves_nothing_and_the_next_one_starts(up):
    pids = list(up.processes().values())
    up.process.kill()
    up.process.wait()
    eventually(lambda: not any(map(is_alive, pids)), 5)
    up.process = up.start()
    up.wait_ready()
    assert up.status("/readyz") == 200


def test_ctrl_c_stops_everything_in_seconds_without_noise(up):
    pids = list(up.processes().values())
    before = len(up.said())
    asked = time.monotonic()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(20) == 0
    assert time.monotonic() - asked < 12
    assert not any(map(is_alive, pids))
    said = up.said()[before:]
    assert re.fullmatch(r"\nstopping …\nstopped in \d+\.\d s\n", said), said
    assert not (up.data_dir / "run.json").exists()


def test_without_an_api_nothing_listens_for_orders_and_nothing_says_so(up):
    up.process = up.start("--scale", "api=0", "--no-flower")
    up.wait_ready()
    assert set(up.processes()) == {"postgres", "valkey", "beat", *WORKERS}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", up.ports[0]), timeout=5)
    assert "API      left out by --scale api=0" in up.said()
    assert "http://" not in up.said()
    assert "API_URL" not in json.loads((up.data_dir / "run.json").read_text())
    targets = json.loads((up.data_dir / "metrics.json").read_text())
    assert {target["labels"]["process"] for target in targets} == {"beat", *WORKERS}
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(20) == 0


def test_what_a_worker_writes_is_lines_of_json_but_for_celerys_word_at_its_end(up):
    for queue in WORKERS:
        lines = (up.data_dir / "logs" / f"{queue}.log").read_text().splitlines()
        assert {line for line in lines if not is_json(line)} <= {"", "worker: Warm shutdown (MainProcess)"}
        assert any(map(is_json, lines))


def is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
