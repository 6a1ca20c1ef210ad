"""Which status may follow which."""

from itertools import product

import pytest

from engine.lifecycle import FINAL, HOLDING_ATTEMPT, NEXT, AttemptState, IllegalStep, Status, check

LEGAL = {
    "pending": "pending triggered routing cancelled expired failed",
    "triggered": "pending routing cancelled failed",
    "routing": "pending building routing cancelled failed",
    "building": "pending submitted routing cancelled failed",
    "submitted": "confirmed failed routing pending cancelled",
    "confirmed": "",
    "failed": "",
    "cancelled": "",
    "expired": "",
}
"""Design, section 2, and what a waiting order adds: amended it stays, its price gone it goes back."""


@pytest.mark.parametrize(("current", "to"), list(product(Status, Status)))
def test_exactly_the_designs_steps_are_legal(current, to):
    if to in LEGAL[current].split():
        check(current, to)
    else:
        with pytest.raises(IllegalStep, match=f"{to} may not follow {current}"):
            check(current, to)


def test_the_statuses_on_the_wire_are_the_designs():
    assert {str(status) for status in Status} == set(LEGAL) == set(NEXT)


def test_nothing_follows_a_final_status():
    assert {"confirmed", "failed", "cancelled", "expired"} == FINAL


def test_every_status_can_be_reached_from_pending_and_can_end():
    reached = {Status.PENDING}
    while following := {to for status in reached for to in NEXT[status]} - reached:
        reached |= following
    assert reached == set(Status)
    assert all(status in FINAL or Status.FAILED in NEXT[status] for status in Status)


def test_a_dead_attempt_makes_room_for_another_and_no_other_does():
    dead = {AttemptState.REJECTED, AttemptState.EXPIRED, AttemptState.WITHDRAWN}
    assert set(AttemptState) - set(HOLDING_ATTEMPT) == dead
