"""What a run measures besides what it judges."""

from datetime import UTC, datetime

import pytest

from tests.chaos.checker.measures import answers, lateness, measure, merged, overlaps, recovery, resumption, spread
from tests.chaos.checker.world import Answer, Told, World
from tests.chaos.fabricated import clean

T = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()


def told(*moves: tuple[float, str], **facts: object) -> list[Told]:
    """Make a story: statuses, each so many seconds after T."""
    messages = [
        {"seq": seq, "status": status, "at": datetime.fromtimestamp(T + after_s, UTC).isoformat(), "type": "market"}
        for seq, (after_s, status) in enumerate(moves, 1)
    ]
    messages[-1] |= facts
    return [Told(T, message) for message in messages]


def fault(kind: str, of: str, begin: float, end: float, target: str = "order-1") -> dict[str, object]:
    return {"kind": kind, "of": of, "target": target, "from": T + begin, "to": T + end}


def test_an_order_in_a_killed_workers_hands_is_measured_until_it_moves():
    world = World(faults=[fault("kill", "process", 1, 1)])
    held = told((0, "pending"), (0.9, "routing"), (6.4, "building"), (6.5, "confirmed"))
    elsewhere = told((0, "pending"), (0.9, "routing"), (1.2, "building"))
    submitted = told((0, "pending"), (0.9, "submitted"), (6, "confirmed"))
    world.stories = {("a", "1"): held, ("a", "2"): elsewhere, ("a", "3"): submitted}
    assert recovery(world)["nothing else was wrong"] == {"n": 1, "p50": 5.4, "p90": 5.4, "p99": 5.4, "max": 5.4}


def test_time_without_any_order_worker_does_not_count():
    absent = [{"from": T - 9, "there": True}, {"from": T + 1.1, "there": False}, {"from": T + 4, "there": True}]
    world = World(faults=[fault("freeze", "process", 2, 9), *absent])
    world.stories = {("a", "1"): told((0, "pending"), (1, "routing"), (9, "building"))}
    assert recovery(world)["nothing else was wrong"]["max"] == 5.0


@pytest.mark.parametrize("of", ["redis", "postgres", "chain", "venues", "messages", "clock"])
def test_what_stood_still_while_something_else_was_wrong_is_told_apart(of):
    world = World(faults=[fault("kill", "process", 1, 1), fault("any", of, 2, 3, of)])
    world.stories = {("a", "1"): told((0, "pending"), (9, "confirmed"))}
    found = recovery(world)
    assert (found["nothing else was wrong"]["n"], found["something else was, too"]["n"]) == (0, 1)


def test_what_waited_for_the_end_of_a_long_outage_is_measured_from_there():
    world = World(faults=[fault("chain", "chain", 10, 70, "chain"), fault("venues", "venues", 80, 90, "venues")])
    resting = told((0, "pending"), (30, "returned"), (80, "triggered"))
    over = told((0, "pending"), (9, "submitted"), (40, "failed"))
    waiting = told((0, "pending"), (50, "routing"), (71.5, "building"))
    unsettled = told((0, "pending"), (9, "submitted"), (70.2, "confirmed"))
    world.stories = {("a", str(place)): one for place, one in enumerate((resting, over, waiting, unsettled))}
    assert resumption(world) == {"chain": {"n": 2, "p50": 1.5, "p90": 1.5, "p99": 1.5, "max": 1.5}}


def test_an_expiry_is_measured_from_its_time():
    late = told((0, "pending"), (7, "expired"), expiresAt=datetime.fromtimestamp(T + 5, UTC).isoformat())
    assert lateness(World(stories={("a", "1"): late}))["nothing was wrong"]["max"] == 2.0


def test_refusals_are_counted_with_and_without_a_stores_fault():
    refused = [Answer("POST", {}, 503, {}, T + at, T + at + 0.1) for at in (1, 20)]
    counted = answers(World(posts=[*refused, Answer("POST", {}, 0, {})]), [(T, T + 5)])
    assert counted == {"POST 503": 2, "POST unanswered": 1, "503 while a store had a fault": 1, "503 else": 1}


def test_spans_are_joined_and_found():
    joined = merged([(5, 6), (1, 2), (1.5, 3)])
    assert joined == [(1, 3), (5, 6)]
    assert overlaps(joined, 0, 1) and overlaps(joined, 2.5, 2.6) and overlaps(joined, 4, 9)
    assert not overlaps(joined, 3.1, 4.9) and not overlaps(joined, 6.1, 9) and not overlaps([], 0, 9)


def test_a_distribution_of_nothing_says_so():
    assert spread([]) == {"n": 0}


def test_a_whole_run_is_measured():
    found = measure(clean())
    assert found["orders"]["acknowledged"] == found["orders"]["rows"] == 7
    assert found["executions"] == {"landed": 3}
