"""Risk limits: what each accepts, which contradict each other, and which of an operator's changes are valid."""

import pytest

from engine import risk_limits
from engine.risk_limits import TABLE, OutOfBounds

DEFAULTS = {name: limit.default for name, limit in TABLE.items()}


@pytest.mark.parametrize("name", TABLE)
def test_a_risk_limit_accepts_its_default_and_its_bounds_and_nothing_beyond(name):
    limit = TABLE[name]
    for value in (limit.low, limit.default, limit.high):
        risk_limits.check(name, value)
    for value in (limit.low - 1, limit.high + 1):
        with pytest.raises(OutOfBounds, match=f"{name} is {limit.low} to {limit.high} {limit.unit}, not {value}"):
            risk_limits.check(name, value)


@pytest.mark.parametrize("name", TABLE)
def test_a_risk_limit_says_what_it_is_and_what_moving_it_does(name):
    assert TABLE[name].about and TABLE[name].effect.endswith(".")


def test_a_quote_cannot_be_fresh_and_stale():
    assert risk_limits.disagreement(DEFAULTS) is None
    wrong = {**DEFAULTS, "QUOTE_FRESH_MS": 10_001}
    assert risk_limits.disagreement(wrong) == "QUOTE_STALE_MS=10000: must not be below QUOTE_FRESH_MS=10001"


def test_what_an_operator_moved_stands():
    assert risk_limits.moved(DEFAULTS, {"MAX_ATTEMPTS": 5, "QUOTE_FRESH_MS": 9_000}) == {
        "MAX_ATTEMPTS": 5,
        "QUOTE_FRESH_MS": 9_000,
    }


def test_a_move_that_contradicts_a_changed_environment_gives_way_and_the_others_stand():
    now = {**DEFAULTS, "QUOTE_STALE_MS": 3_000}
    assert risk_limits.moved(now, {"QUOTE_FRESH_MS": 9_000, "MAX_ATTEMPTS": 5}) == {"MAX_ATTEMPTS": 5}


def test_a_move_out_of_bounds_or_of_no_risk_limit_does_not_stand():
    given = {"MAX_ATTEMPTS": 11, "GONE": 1, "LIMIT_HOLD_POLLS": 2}
    assert risk_limits.moved(DEFAULTS, given) == {"LIMIT_HOLD_POLLS": 2}
