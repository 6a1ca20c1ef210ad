"""How far what a client has seen still belongs to an order's history."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cursor import Cursor, in_common


@pytest.mark.parametrize(
    ("seq", "epoch", "epochs", "shared"),
    [
        (0, None, [1], 0),
        (3, 1, [1, 1, 1, 1], 3),
        (4, 1, [1, 1, 2], 2),
        (2, 1, [1, 2], 1),
        (2, 2, [1, 2], 2),
        # From the epoch between, of whose events none is left.
        (5, 2, [1, 1, 3, 3, 3], 2),
        # Who does not say is taken for one who saw the oldest.
        (2, None, [1, 2], 1),
        (2, None, [1, 1], 2),
        (9, None, [1, 1], 2),
        # The first event is the same in all.
        (1, 0, [5, 5], 1),
    ],
)
def test_a_history_is_shared_up_to_the_epoch_that_was_seen(seq, epoch, epochs, shared):
    assert in_common(Cursor(seq, epoch), epochs) == shared


LOSSES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=6)
"""Losses of an order's history: how many events are lost each time, and how many come then."""


@given(begins=st.integers(0, 6), losses=LOSSES, looks=st.sets(st.integers(0, 7)))
def test_whoever_looks_now_and_then_ends_with_the_servers_history(begins, losses, looks):
    history = [(1, 0, "first")] + [(1, n, f"1/{n}") for n in range(begins)]
    held: list[tuple[int, int, str]] = []

    def look():
        nonlocal held
        seen = Cursor(len(held), held[-1][0]) if held else Cursor()
        shared = in_common(seen, [epoch for epoch, _, _ in history])
        held = held[:shared] + history[shared:]
        assert held == history

    for epoch, (lost, come) in enumerate(losses, 2):
        if epoch - 2 in looks:
            look()
        history = history[: max(1, len(history) - lost)] + [(epoch, n, f"{epoch}/{n}") for n in range(come)]
    look()
