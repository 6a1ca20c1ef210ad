"""Supervision, with tiny processes under the real supervisor."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.restarts import Restarts
from deploy.supervisor import Care, Supervisor, delay_after, how
from tests.deploy.conftest import eventually, is_alive

ROOT = Path(__file__).resolve().parents[2]


class Tiny:
    """A launcher of tiny processes."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy.tiny", folder, *names], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )

    def until(self, text: str) -> str:
        for line in self.process.stdout:
            if text in line:
                return line
        raise AssertionError(f"ended without saying {text!r}")

    def record(self) -> list[str]:
        path = self.folder / "record"
        return path.read_text().splitlines() if path.exists() else []

    def pids(self, name: str) -> list[int]:
        return [int(line.split()[1]) for line in self.record() if line.startswith(name) and line.split()[1].isdigit()]


@pytest.fixture
def tiny(data_dir):
    started = []

    def start(*names: str) -> Tiny:
        started.append(Tiny(data_dir, *names))
        return started[-1]

    yield start
    for launcher in started:
        launcher.process.kill()
        launcher.process.wait()


def test_a_process_that_dies_is_started_again_and_one_line_says_so(tiny):
    launcher = tiny("first", "second")
    launcher.until("watching")
    os.kill(launcher.pids("first")[0], signal.SIGKILL)
    assert "first ended (killed by SIGKILL); starting it again in 0.2 s" in launcher.until("first")
    eventually(lambda: len(launcher.pids("first")) == 2)
    assert is_alive(launcher.pids("first")[1])
    assert len(launcher.pids("second")) == 1


def ask(launcher: Tiny, role: str) -> Path:
    request = launcher.folder / "restarts" / role
    request.touch()
    return request


def test_a_role_is_restarted_one_process_after_another_and_the_others_stay(tiny):
    launcher = tiny("first", "twin-1", "twin-2")
    launcher.until("watching")
    request = ask(launcher, "twin")
    assert "asked to restart twin" in launcher.until("twin")
    launcher.until("twin-2 is restarted")
    eventually(lambda: not request.exists())
    steps = [line for line in launcher.record() if line.startswith("twin")][2:]
    pids = {name: launcher.pids(name) for name in ("twin-1", "twin-2")}
    assert steps == [
        *("twin-1 asked to end", f"twin-1 {pids['twin-1'][1]}"),
        *("twin-2 asked to end", f"twin-2 {pids['twin-2'][1]}"),
    ]
    assert len(launcher.pids("first")) == 1


def test_what_does_not_run_here_is_not_restarted_and_the_request_is_gone(tiny):
    launcher = tiny("first")
    launcher.until("watching")
    request = ask(launcher, "third")
    assert launcher.until("third") == "asked to restart 'third', which does not run here\n"
    eventually(lambda: not request.exists())


def test_stopping_is_orderly_silent_and_exits_with_zero(tiny):
    launcher = tiny("first", "second")
    launcher.until("watching")
    launcher.process.send_signal(signal.SIGINT)
    assert launcher.process.wait(5) == 0
    assert launcher.record()[-2:] == ["first asked to end", "second asked to end"]
    assert not any((launcher.folder / f"{name}.log").read_text() for name in ("first", "second"))


def test_what_does_not_end_in_time_is_killed_and_named(tiny):
    launcher = tiny("deaf")
    launcher.until("watching")
    launcher.process.send_signal(signal.SIGTERM)
    assert launcher.until("killed") == "deaf was killed\n"
    assert launcher.process.wait(5) == 0
    assert not is_alive(launcher.pids("deaf")[0])


def test_a_second_request_ends_everything_at_once(tiny):
    launcher = tiny("deaf", "first")
    launcher.until("watching")
    launcher.process.send_signal(signal.SIGINT)
    launcher.process.send_signal(signal.SIGTERM)
    launcher.process.wait(5)
    assert not any(is_alive(pid) for name in ("deaf", "first") for pid in launcher.pids(name))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux'")
def test_a_killed_launcher_leaves_no_orphan_not_even_a_deaf_one(tiny):
    launcher = tiny("first", "deaf")
    launcher.until("watching")
    pids = launcher.pids("first") + launcher.pids("deaf")
    assert all(map(is_alive, pids))
    launcher.process.kill()
    eventually(lambda: not any(map(is_alive, pids)), 5)


def test_a_process_that_cannot_start_ends_the_start_and_its_log_says_why(tiny):
    launcher = tiny("doomed")
    said = launcher.until("not ready")
    assert "doomed ended 3 times without becoming ready" in said
    assert launcher.process.wait(5) == 1
    assert (launcher.folder / "doomed.log").read_text().count("the reason it failed") == 3


def test_processes_carry_their_role_as_name(tiny):
    launcher = tiny("first")
    launcher.until("watching")
    assert Path(f"/proc/{launcher.pids('first')[0]}/comm").read_text() == "first\n"


def test_the_delay_doubles_to_a_limit():
    assert [delay_after(n) for n in (1, 2, 3, 4, 6, 7, 50)] == [0.2, 0.4, 0.8, 1.6, 6.4, 10.0, 10.0]


class Scripted:
    """A process whose death the test decides."""

    name, log, pid = "scripted", Path("scripted.log"), 1

    def __init__(self) -> None:
        self.code: int | None = None
        self.starts = 0

    def spawn(self) -> None:
        self.starts += 1
        self.code = None

    def poll(self) -> int | None:
        return self.code


def test_backoff_grows_with_each_death_and_starts_over_after_steady_life():
    now, process, said = [0.0], Scripted(), []
    supervisor = Supervisor(said.append, signals=None, clock=lambda: now[0])
    supervisor.cares = [Care(process, 0.0)]
    for delay in (0.2, 0.4, 0.8):
        process.code = 1
        assert supervisor.step() == pytest.approx(delay)
        now[0] += delay - 0.01
        supervisor.step()
        assert process.code == 1, "not before its time"
        now[0] += 0.02
        supervisor.step()
        assert process.code is None
    now[0] += 30.1
    process.code = -9
    assert supervisor.step() == pytest.approx(0.2)
    assert process.starts == 3
    assert len(said) == 4


class Stubborn(Scripted):
    """A process that does not end when it is asked to."""

    name, pid = "stubborn-1", 0

    def is_ready(self) -> bool:
        return False


@pytest.fixture
def stubborn(tmp_path):
    """A role of two processes, of which the first is to be restarted; what was said, and the clock."""
    now, said, process, other = [0.0], [], Stubborn(), Stubborn()
    supervisor = Supervisor(said.append, signals=None, clock=lambda: now[0])
    supervisor.kill = lambda killed: said.append(f"killed {[one.name for one in killed]}")
    restarts = Restarts(tmp_path / "restarts", supervisor, [process, other], clock=lambda: now[0])
    (tmp_path / "restarts" / "stubborn").touch()
    restarts.look()
    restarts.look()
    return restarts, process, said, now


def test_what_does_not_end_what_it_has_in_hand_in_time_is_killed_once(stubborn):
    restarts, _, said, now = stubborn
    for now[0] in (19.0, 21.0, 22.0):
        restarts.look()
    assert said[1:] == ["stubborn-1 did not end within 20 s and is killed", "killed ['stubborn-1']"]


def test_a_process_that_does_not_become_ready_again_ends_the_restart_of_its_role(stubborn):
    restarts, process, said, now = stubborn
    process.pid = 7
    for now[0] in (49.0, 51.0):
        restarts.look()
    assert said[1:] == ["stubborn-1 is not ready after 51 s; the rest of stubborn is left"]
    assert not list(restarts.folder.iterdir()) and not restarts.waiting


def test_a_request_of_an_earlier_run_is_forgotten(tmp_path):
    (tmp_path / "restarts").mkdir()
    (tmp_path / "restarts" / "order").touch()
    Restarts(tmp_path / "restarts", Supervisor(print, signals=None), [])
    assert not list((tmp_path / "restarts").iterdir())


def test_a_process_that_was_asked_to_end_starts_again_at_once_and_is_no_failure():
    now, process, said = [0.0], Scripted(), []
    supervisor = Supervisor(said.append, signals=None, clock=lambda: now[0])
    supervisor.cares = [Care(process, 0.0)]
    supervisor.expect(process)
    process.code = 0
    supervisor.step()
    supervisor.step()
    assert process.starts == 1 and supervisor.cares[0].failures == 0
    assert said == ["scripted ended as asked (exit code 0); starting it again"]


def test_an_exit_code_reads_as_a_sentence():
    assert [how(code) for code in (0, 3, -9, -64)] == [
        "exit code 0",
        "exit code 3",
        "killed by SIGKILL",
        "killed by SIGRTMAX",
    ]
