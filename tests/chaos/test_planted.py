"""Bugs can be planted in the engine's processes, by tests alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.env import ROOT
from tests.chaos.planted.bugs import BUGS
from tests.chaos.planted.environment import planted

PLACED = [name for name, bug in BUGS.items() if bug.plant]
SAY = "import config.settings, django; django.setup(); import {module} as m; print(getattr(m, 'planted_bug', None))"


def said(name: str, module: str) -> "subprocess.CompletedProcess[str]":
    """Import a module of the engine in a process of its own, and say which bug is in it."""
    environ = {**os.environ, **(planted(name) if name else {})}
    command = [sys.executable, "-c", SAY.format(module=module)]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_there_are_ten_and_each_says_what_it_replaces():
    assert len(BUGS) == 10
    assert all(bug.step and bool(bug.plant) == bool(bug.module) for bug in BUGS.values())


@pytest.mark.parametrize("name", PLACED)
def test_a_bug_is_in_the_module_it_belongs_to(name):
    done = said(name, BUGS[name].module)
    assert done.stdout.strip() == name, done.stderr


@pytest.mark.parametrize("name", PLACED)
def test_nothing_is_planted_unasked(name):
    assert said("", BUGS[name].module).stdout.strip() == "None"


def test_a_bug_that_nobody_knows_or_has_written_ends_the_process():
    assert "there is no bug 'typo'" in said("typo", "orders.live").stderr
    for name in BUGS.keys() - set(PLACED):
        assert BUGS[name].step in said(name, "orders.live").stderr


def test_the_engine_knows_nothing_of_them():
    rooms = ("engine", "routing", "orders", "workers", "config", "deploy")
    for path in (path for room in rooms for path in Path(ROOT / room).rglob("*.py")):
        assert "PLANTED_BUG" not in path.read_text(), path
