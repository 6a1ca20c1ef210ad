"""The checker finds what is wrong with a run, each kind of it, and nothing in a run in which all went well."""

import ast
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from tests.chaos import checker
from tests.chaos.checker.judge import judge
from tests.chaos.checker.verdict import EXAMPLES, KINDS, Verdict
from tests.chaos.checker.world import Answer, Told
from tests.chaos.fabricated import AMENDED, EXPIRED, MARKET, NOW, RESTING, clean, read
from tests.chaos.wrongs import WRONGS, fail, story, unfinished

# What cannot be had without: the same fault seen from another side.
ALSO = {
    "acknowledged_missing": {"unread"},
    "cancelled_executed": {"cancel_undone"},
    "story_gap": {"story_differs_events"},
    "story_after_end": {"story_unended"},
}


def test_a_run_in_which_all_went_well_has_no_violation():
    assert judge(clean()).as_dict() == {}


def test_every_kind_of_violation_is_tried():
    assert WRONGS.keys() == KINDS.keys()


CASES = [(kind, plant) for kind, plants in WRONGS.items() for plant in plants]


@pytest.mark.parametrize(("kind", "plant"), CASES, ids=lambda case: getattr(case, "__name__", case))
def test_a_violation_is_found_and_nothing_else(kind, plant):
    world = clean()
    plant(world)
    found = judge(world)
    assert found.counts.keys() == {kind} | ALSO.get(kind, set()), found.as_dict()
    assert found.counts[kind] == 1


def test_a_rewind_as_specified_is_no_violation():
    world = clean()
    # The client saw 3 and 4 of an epoch that was lost, and heard of it before what came instead.
    lost = [Told(4.0, {**told.message, "venue": "lost"}) for told in story(world)[2:4]]
    story(world)[2:2] = [*lost, Told(4.5, {"orderId": MARKET, "rewoundTo": 2, "epoch": 2, "reason": "emptied"})]
    for known in (world.events[MARKET], [told.message for told in story(world)[5:]]):
        for one in known[2:] if known is world.events[MARKET] else known:
            one["epoch"] = 2
    read(world, MARKET)
    assert judge(world).as_dict() == {}


def test_a_market_order_may_fail_at_its_own_deadline():
    world = clean()
    unfinished(world)
    fail(world, MARKET, "chain_unreachable", "2026-01-01T11:58:31.000Z")
    assert judge(world).as_dict() == {}
    world.events[MARKET][0]["deadline"] = "2026-01-01T11:59:00.000Z"
    assert "ended_by_outage" in judge(world).counts


def test_a_time_of_expiry_that_was_over_when_it_was_read_may_be_refused():
    world = clean()
    late = {"error": {"fields": [{"field": "expiresAt"}]}}
    asked = {"order": RESTING, "changes": {"expiresAt": NOW.isoformat()}}
    world.patches.append(Answer("PATCH", asked, 400, late, answered_at=NOW.timestamp()))
    assert judge(world).as_dict() == {}
    world.patches[-1].answered_at -= 60
    assert judge(world).counts == {"answered_wrong": 1}


def test_an_order_that_expired_is_not_asked_to_rest():
    world = clean()
    assert world.rows[EXPIRED].status == "expired"
    world.rows[EXPIRED].status = "pending"
    assert "unfinished" in judge(world).counts


def test_examples_are_few_and_counts_are_not():
    verdict = Verdict()
    for number in range(100):
        verdict.add("unfinished", f"order {number}", "stands")
    shown = verdict.as_dict()["unfinished"]
    assert shown["count"] == 100 and len(shown["examples"]) == EXAMPLES


def test_the_checker_imports_nothing_of_what_it_judges():
    allowed = {*sys.stdlib_module_names, "psycopg"}
    for path in Path(checker.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                names = [node.module or ""]
            else:
                continue
            for name in names:
                own = name == "tests.chaos.checker" or name.startswith("tests.chaos.checker.")
                assert own or name.partition(".")[0] in allowed, f"{path.name} imports {name}"


def test_importing_the_checker_loads_nothing_of_what_it_judges():
    judged = ("django", "engine", "routing", "orders", "workers", "config", "celery", "redis")
    program = f"import sys, tests.chaos.checker.__main__; print(sorted(set({judged!r}) & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_a_history_without_its_beginning_is_judged_all_the_same():
    world = clean()
    del world.events[AMENDED][0], world.read_events[AMENDED][0]
    assert "rows_gap" in judge(world).counts


@pytest.mark.parametrize("seconds", [1, -1])
def test_an_order_that_expires_while_everything_is_read_may_be_known_as_resting_to_some_readers(seconds):
    world = clean()
    last = world.events[EXPIRED][-1]
    world.calm_over = datetime.fromisoformat(last["at"]).timestamp() - seconds
    del world.read_events[EXPIRED][-1]
    found = judge(world).counts
    assert ("rest_differs_rows" in found, "story_differs_events" in found) == (seconds < 0, seconds < 0)
