"""Whether and when a failed try is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from engine.failures import NotTraded, NoVenueQuotes
from engine.retry import BASE_MS, CAP_MS, decide, delay_ms

PASSING = NoVenueQuotes("The venue is down.")
LASTING = NotTraded("No such pair.")
CHANCES = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(st.integers(min_value=1, max_value=10**6), CHANCES)
def test_a_wait_is_never_negative_and_never_past_the_cap(attempt, chance):
    assert 0 <= delay_ms(attempt, lambda: chance) < CAP_MS


def test_the_longest_wait_doubles_with_each_attempt_until_the_cap():
    ceilings = [delay_ms(attempt, lambda: 1.0) for attempt in range(1, 8)]
    assert ceilings == [min(CAP_MS, BASE_MS * 2**attempt) for attempt in range(1, 8)]
    assert ceilings[-1] == CAP_MS


def test_chance_spreads_a_wait_over_the_whole_range():
    assert [delay_ms(2, lambda chance=chance: chance) for chance in (0, 0.25, 0.5)] == [0, BASE_MS, 2 * BASE_MS]


def test_a_passing_failure_is_tried_again_until_the_last_attempt():
    waits = [decide(PASSING, attempt, 3, lambda: 0.5) for attempt in (1, 2, 3, 4)]
    assert waits == [BASE_MS, 2 * BASE_MS, None, None]


def test_a_lasting_failure_is_never_tried_again():
    assert decide(LASTING, 1, 3, lambda: 0.5) is None
