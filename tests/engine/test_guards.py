"""Guards: what each accepts, which contradict each other, and what of an operator's moves stands."""

import pytest

from engine import guards
from engine.guards import TABLE, OutOfBounds

DEFAULTS = {name: guard.default for name, guard in TABLE.items()}


@pytest.mark.parametrize("name", TABLE)
def test_a_guard_accepts_its_default_and_its_bounds_and_nothing_beyond(name):
    guard = TABLE[name]
    for value in (guard.low, guard.default, guard.high):
        guards.check(name, value)
    for value in (guard.low - 1, guard.high + 1):
        with pytest.raises(OutOfBounds, match=f"{name} is {guard.low} to {guard.high} {guard.unit}, not {value}"):
            guards.check(name, value)


@pytest.mark.parametrize("name", TABLE)
def test_a_guard_says_what_it_is_and_what_moving_it_does(name):
    assert TABLE[name].about and TABLE[name].effect.endswith(".")


def test_a_quote_cannot_be_fresh_and_stale():
    assert guards.disagreement(DEFAULTS) is None
    wrong = {**DEFAULTS, "QUOTE_FRESH_MS": 10_001}
    assert guards.disagreement(wrong) == "QUOTE_STALE_MS=10000: must not be below QUOTE_FRESH_MS=10001"


def test_what_an_operator_moved_stands():
    assert guards.moved(DEFAULTS, {"MAX_ATTEMPTS": 5, "QUOTE_FRESH_MS": 9_000}) == {
        "MAX_ATTEMPTS": 5,
        "QUOTE_FRESH_MS": 9_000,
    }


def test_a_move_that_contradicts_a_changed_environment_gives_way_and_the_others_stand():
    now = {**DEFAULTS, "QUOTE_STALE_MS": 3_000}
    assert guards.moved(now, {"QUOTE_FRESH_MS": 9_000, "MAX_ATTEMPTS": 5}) == {"MAX_ATTEMPTS": 5}


def test_a_move_out_of_bounds_or_of_no_guard_does_not_stand():
    assert guards.moved(DEFAULTS, {"MAX_ATTEMPTS": 11, "GONE": 1, "LIMIT_HOLD_POLLS": 2}) == {"LIMIT_HOLD_POLLS": 2}
