"""`manage.py up` itself: the real engine, its stores and all its processes."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from deploy.servers import free_port
from tests.deploy.conftest import eventually, is_alive

ROOT = Path(__file__).resolve().parents[2]
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

    def start(self) -> subprocess.Popen:
        with self.output.open("w") as output:
            return subprocess.Popen(
                [sys.executable, "manage.py", "up"], cwd=ROOT, env=self.environment, stdout=output, stderr=output
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


def test_a_role_killed_is_back_and_requests_meanwhile_wait_instead_of_failing(up):
    before = up.processes()["api"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: not is_alive(before))
    assert up.status("/readyz") == 200
    assert up.processes()["api"] != before
    assert "api ended (killed by SIGKILL); starting it again in 0.2 s" in up.said()


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
