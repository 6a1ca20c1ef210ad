"""The chaos run itself, short: the engine comes through, and the textbook's engine does not."""

import json

import pytest

from tests.chaos import run

pytestmark = pytest.mark.system

# Orders expire up to 40 s after they are placed or amended: a shorter calm would end while some may still expire.
CALM = ["--calm", "45"]
A_MINUTE = ["--seed", "1", "--minutes", "1", "--rate", "15"]
HALF_A_MINUTE = ["--seed", "1", "--minutes", "0.5", "--rate", "20"]


@pytest.mark.parametrize("size", [HALF_A_MINUTE, pytest.param(A_MINUTE, marks=pytest.mark.long)], ids=["half", "whole"])
def test_nothing_is_lost_doubled_or_told_untruthfully_while_everything_breaks(tmp_path, size):
    wrong = violations(tmp_path, [*size, *CALM])
    assert wrong == {}, json.dumps(wrong, indent=1)


def test_the_naive_control_loses_and_doubles_under_the_same_faults(tmp_path):
    found = violations(tmp_path, [*HALF_A_MINUTE, "--calm", "20", "--control"])
    assert {"unfinished", "executed_twice"} <= found.keys()


@pytest.mark.long
def test_the_naive_control_does_neither_when_nothing_breaks(tmp_path):
    assert violations(tmp_path, ["--minutes", "0.2", "--calm", "20", "--control", "--still"]) == {}


def violations(folder, arguments):
    """Run it, and return what the checker found."""
    report = folder / "report.json"
    run.main([*arguments, "--json", str(report)])
    return json.loads(report.read_text())["violations"]
