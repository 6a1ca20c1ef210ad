"""Faults are done as planned, ended in their time, and written down."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from routing.store import redis
from tests.chaos.faults import injector, processes, sandbox
from tests.chaos.faults.ground import Ground, Hit
from tests.chaos.faults.injector import Injector
from tests.chaos.faults.messages import Thief
from tests.chaos.grounds.engine import Process, started, state
from tests.chaos.plan.faults import PER_MINUTE, Planned
from tests.system import eventually


@pytest.fixture
def ground(tmp_path):
    engine = SimpleNamespace(known=[])
    engine.processes = lambda: [one for one in engine.known if one.lives]
    return Ground(SimpleNamespace(), SimpleNamespace(), engine, tmp_path / "faults.json")


def kinds(monkeypatch, **does):
    monkeypatch.setattr(injector, "KINDS", {name: ("process", do) for name, do in does.items()})


def lines(folder):
    return [json.loads(line) for line in (folder / "faults.jsonl").read_text().splitlines()]


def nothing():
    """Do nothing in between."""


def test_every_kind_that_is_planned_can_be_done():
    assert injector.KINDS.keys() == PER_MINUTE.keys()


def test_a_fault_is_ended_after_its_time_and_written_down(ground, tmp_path, monkeypatch):
    happened = []
    kinds(monkeypatch, hold=lambda *_: happened.append("done") or Hit("it", lambda: happened.append("undone")))
    one = Injector(ground, [Planned(0.0, "hold", 0.2)], tmp_path)
    one.run(0.1, nothing)
    assert happened == ["done"] and lines(tmp_path) == []
    one.run(0.3, nothing)
    assert happened == ["done", "undone"]
    (line,) = lines(tmp_path)
    assert (line["kind"], line["of"], line["target"]) == ("hold", "process", "it")
    assert 0.15 < line["to"] - line["from"] < 0.4


def test_a_fault_that_cannot_be_done_is_put_off(ground, tmp_path, monkeypatch):
    answers = iter([None, None, Hit("it")])
    kinds(monkeypatch, late=lambda *_: next(answers))
    monkeypatch.setattr(injector, "LATER_S", 0.05)
    one = Injector(ground, [Planned(0.0, "late", 0.0)], tmp_path)
    one.run(0.6, nothing)
    assert one.counts == {"late": 1}


def test_what_is_not_over_is_ended_with_the_run(ground, tmp_path, monkeypatch):
    happened = []
    kinds(monkeypatch, hold=lambda *_: Hit("it", lambda: happened.append("undone")))
    one = Injector(ground, [Planned(0.0, "hold", 60.0), Planned(30.0, "hold", 1.0)], tmp_path)
    one.run(0.1, nothing)
    one.end_all()
    assert happened == ["undone"] and len(lines(tmp_path)) == 1
    one.run(0.1, nothing)
    assert happened == ["undone"]


@pytest.fixture
def sleeper(ground):
    """A process to be hurt, as the engine's only order worker."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    ground.engine.known = [Process("order-1", process.pid, started(process.pid))]
    yield process
    process.kill()
    process.wait()


def test_a_process_is_frozen_and_wakes(ground, sleeper):
    hit = processes.freeze(ground, Planned(0, "freeze", 1.0, "order"))
    eventually(lambda: state(sleeper.pid) == "T", 5, "it stands still")
    assert processes.kill(ground, Planned(0, "kill", 0.0, "order")) is None
    assert processes.freeze(ground, Planned(0, "freeze", 1.0, "order")) is None
    hit.undo()
    eventually(lambda: state(sleeper.pid) != "T", 5, "it goes on")


def test_a_process_is_killed_also_for_want_of_one_of_the_planned_role(ground, sleeper):
    assert processes.kill(ground, Planned(0, "kill", 0.0, "limit")).target == "order-1"
    assert sleeper.wait(5) != 0
    assert processes.kill(ground, Planned(0, "kill", 0.0, "order")) is None


def test_a_number_that_is_anothers_by_now_is_left_alone(sleeper):
    assert not Process("order-1", sleeper.pid, started(sleeper.pid) - 1).signal(9)
    assert sleeper.poll() is None


def test_the_launcher_is_never_killed_by_itself(ground, sleeper):
    ground.engine.known = [Process("launcher", sleeper.pid, started(sleeper.pid))]
    assert processes.kill(ground, Planned(0, "kill", 0.0, "launcher")) is None


def test_venues_and_chain_misbehave_apart_from_each_other(ground):
    chain = sandbox.chain(ground, Planned(0, "chain", 1.0, facts={"chain": {"down": True}}))
    venues = sandbox.venues(ground, Planned(0, "venues", 1.0, facts={"venues": {"METEORA": {"down": True}}}))
    assert json.loads(ground.misbehaviour.read_text()) == {
        "venues": {"METEORA": {"down": True}},
        "chain": {"down": True},
    }
    assert sandbox.chain(ground, Planned(0, "chain", 1.0, facts={"chain": {}})) is None
    chain.undo()
    assert json.loads(ground.misbehaviour.read_text())["chain"] == {}
    venues.undo()
    assert json.loads(ground.misbehaviour.read_text()) == {"venues": {}, "chain": {}}


@pytest.mark.parametrize(("what", "left"), [("drop", 0), ("delay", 20), ("double", 40)])
def test_a_thief_drops_delays_or_doubles_what_it_takes(what, left):
    redis().delete("order")
    back = []
    shares = dict.fromkeys(("drop", "delay", "double"), 0.0) | {what: 1.0}
    thief = Thief(redis(), shares)
    for number in range(20):
        redis().lpush("order", str(number))
        thief.take()
        # What it gives back is a worker's.
        while redis().lpop("order"):
            back.append(number)
    thief.bring_back(float("inf"))
    assert len(back) + redis().llen("order") == left
    assert thief.done == {what: 20}
    redis().delete("order")
