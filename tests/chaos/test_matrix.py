"""The crash matrix' sample, and defects that the matrix must find."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from engine.orders import OrderType
from orders import attempts, execution, settlement, swaps
from routing.crashpoints import STEPS, Moment, Store, step
from tests.chaos.matrix import cells, play, stage
from tests.chaos.matrix.blows import Blow
from tests.chaos.matrix.cells import Cell
from tests.chaos.matrix.chain import Outcome
from tests.chaos.matrix.lives import LIVES, PATH, Life


@pytest.fixture
def theatre(bench) -> Iterator[None]:
    """A process in which cells can be played."""
    with stage.set_up():
        yield


def wrong(chosen: Sequence[Cell]) -> list[str]:
    """Play cells; return those that are wrong, with what is."""
    played = [(cell, play.play(cell)) for cell in chosen]
    return [f"{cell}: {'; '.join(found)}" for cell, found in played if found]


def test_every_cell_of_the_sample_is_right(theatre):
    sample = cells.sample()

    assert {cell.step for cell in sample} == set(STEPS)
    assert {cell.blow for cell in sample} == set(Blow)
    assert {cell.outcome for cell in sample} == set(Outcome)
    assert {cell.moment for cell in sample} == set(Moment)
    assert {cell.life for cell in sample} == set(LIVES)
    assert {(cell.blow, cell.outcome) for cell in sample} == {(blow, outcome) for blow in Blow for outcome in Outcome}
    assert wrong(sample) == []


def limit_path() -> Life:
    """Return the life of a limit order on its path."""
    return next(life for life in LIVES if life.name == PATH and life.kind is OrderType.LIMIT)


def at(steps: str, outcome: Outcome, *blows: Blow) -> list[Cell]:
    """Return the cells of a limit order at these steps."""
    return [cell for cell in cells.cells_of(limit_path(), outcome) if cell.step in steps.split() and cell.blow in blows]
