"""The crash matrix' sample, and defects that the matrix must find."""

from collections.abc import Iterator, Sequence

import pytest

from engine.lifecycle import AttemptState
from engine.orders import OrderType
from orders.flow import execution, settlement
from orders.stores import attempts, book, chain_results
from routing.crashpoints import STEPS, Moment, Store, step
from routing.store import lua, now_ms, script
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


def test_an_attempt_that_was_not_sent_costs_no_try_when_redis_comes_back_older(theatre):
    life = next(one for one in LIVES if (one.kind, one.name) == (OrderType.LIMIT, PATH))
    chosen = [
        cell
        for cell in cells.cells_of(life, Outcome.LANDS)
        if cell.step in ("swap.building", "prepare") and cell.blow in (Blow.BACK, Blow.FAR_BACK)
    ]
    assert len(chosen) == 4
    assert wrong(chosen) == []


def sent_unconditionally(monkeypatch):
    """Mark an attempt as sent whatever has become of it meanwhile."""

    @step("sent", Store.POSTGRES, "the attempt is committed as sent")
    def mark_sent(signatures):
        statement = "UPDATE orders_attempt SET state = 'sent' WHERE signature = ANY(%s) RETURNING signature"
        return attempts.changed(statement, signatures)

    monkeypatch.setattr(attempts, "mark_sent", mark_sent)


def sent_before_it_is_committed(monkeypatch):
    """Let the bytes leave first, and write down afterwards that they have."""
    submit = execution.submit

    def submit_early(built):
        settlement.broadcast([prepared for _, prepared in built])
        submit(built)

    monkeypatch.setattr(execution, "submit", submit_early)


def resigned_on_time_out(monkeypatch):
    """Take a broadcast that is not answered for one that failed, and sign the order anew."""

    def broadcast(sent):
        if sent and not settlement.deliver([attempt.raw for attempt in sent]):
            failed = [settlement.expiry(attempt.signature) for attempt in sent]
            settlement.conclude(chain_results.settle(AttemptState.EXPIRED, failed, now_ms()))

    monkeypatch.setattr(settlement, "broadcast", broadcast)


def bucket_popped_unclaimed(monkeypatch):
    """Take reached orders out of their bucket, and keep no record of it."""
    source = lua(book.SCRIPTS / "claim.lua")
    taken = "if #ids > 0 then"
    assert source.count(taken) == 1
    monkeypatch.setattr(book, "CLAIM", script(source.replace(taken, "if false then")))


PLANTS = [
    # the plant, the step at which it is found, by which blow, and as what
    (sent_unconditionally, "sent", Blow.FORGOTTEN, "cancelled, while the chain executed"),
    (sent_before_it_is_committed, "prepare", Blow.DIES, "executed 2 times"),
    (resigned_on_time_out, "send", Blow.LOST, "executed 2 times"),
    (bucket_popped_unclaimed, "fire", Blow.DIES, "it has not come to rest"),
]


@pytest.mark.parametrize(("plant", "where", "blow", "what"), PLANTS)
def test_a_planted_defect_is_found(theatre, monkeypatch, plant, where, blow, what):
    path = next(life for life in LIVES if life.name == PATH and life.kind is OrderType.LIMIT)
    near = [cell for cell in cells.cells_of(path, Outcome.LANDS) if cell.step == where and cell.blow is blow]
    assert wrong(near) == []
    plant(monkeypatch)
    assert what in "\n".join(wrong(near))
