"""The crash matrix' sample, and defects that the matrix must find."""

from collections.abc import Iterator, Sequence

import pytest

from engine.orders import OrderType
from orders import attempts, execution, live, settlement, swaps
from routing import epochs
from routing.crashpoints import STEPS, Moment, Store, step
from routing.store import lua, script
from tests.chaos.matrix import cells, play, stage
from tests.chaos.matrix.blows import Blow
from tests.chaos.matrix.cells import Cell
from tests.chaos.matrix.chain import Outcome
from tests.chaos.matrix.lives import LIVES, PATH


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


def sent_unconditionally(monkeypatch):
    """Mark an attempt as sent whatever has become of it meanwhile."""

    @step("sent", Store.POSTGRES, "the attempt is committed as sent")
    def mark_sent(signatures):
        statement = "UPDATE orders_attempt SET state = 'sent' WHERE signature = ANY(%s) RETURNING signature"
        return attempts.changed(statement, signatures)

    monkeypatch.setattr(attempts, "mark_sent", mark_sent)


def fence_not_checked(monkeypatch):
    """Let whoever knows an order's status and seq move it, whatever has become of its claim."""
    fence = "and (not move.fence or h.fence == move.fence)"
    assert live.PREFIX.count(fence) == 1
    unfenced = epochs.CHECK + live.PREFIX.replace(fence, "") + lua(live.LUA / "advance.lua")
    monkeypatch.setattr(swaps, "ADVANCE", script(unfenced))


def sent_before_it_is_committed(monkeypatch):
    """Let the bytes leave first, and write down afterwards that they have."""
    submit = execution.submit

    def submit_early(built):
        settlement.broadcast([prepared for _, prepared in built])
        submit(built)

    monkeypatch.setattr(execution, "submit", submit_early)


def terms_not_bound(monkeypatch):
    """Commit an attempt whatever has become of its order."""
    bound = "WHERE o.closed_at IS NULL AND o.terms_seq = asked.terms_seq"
    fetch = attempts.fetch
    monkeypatch.setattr(attempts, "fetch", lambda sql, *more: fetch(sql.replace(bound, ""), *more))


PLANTS = [
    # the plant, the step at which it is found, by which blows
    (sent_unconditionally, "sent", (Blow.CANCELLED, Blow.AMENDED)),
]


@pytest.mark.parametrize(("plant", "where", "blows"), PLANTS)
def test_a_planted_defect_is_found(theatre, monkeypatch, plant, where, blows):
    path = next(life for life in LIVES if life.name == PATH and life.kind is OrderType.LIMIT)
    near = [cell for cell in cells.cells_of(path, Outcome.LANDS) if cell.step == where and cell.blow in blows]
    assert wrong(near) == []
    plant(monkeypatch)
    assert wrong(near) != []
