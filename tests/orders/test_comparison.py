"""Orders that went on in a Redis which had forgotten their end, when that Redis is started again and compared."""

import pytest

from engine.cursor import Cursor
from orders import models
from orders.flow import decisions, limits, recovery, restoring, settlement, waiting
from orders.stores import event_codec, history, live, order_view, swaps
from routing import epochs
from tests.chaos.matrix import memory
from tests.forged import forged
from tests.orders.bench import OWNER


@pytest.fixture
def ended(bench):
    """An order that was cancelled, and Redis as it was before that, with nobody to notice."""
    (order_id,) = bench.accept(bench.limit("150"))
    epochs.current()
    before = memory.copied()
    waiting.cancel(order_id)
    memory.come_back(before, noticed=False)
    return order_id


@pytest.fixture
def gone_on(bench, ended):
    """The same, and it has fired since, in the epoch of its end."""
    bench.price("151")
    limits.check()
    assert bench.statuses(ended) == ["pending", "triggered"]
    return ended


def test_a_comparison_that_finds_an_order_behind_its_end_comes_to_its_own(bench, gone_on):
    fired = bench.events(gone_on)[-1]
    memory.come_back(memory.copied())
    recovery.recover()
    assert bench.statuses(gone_on) == ["pending", "cancelled"]
    end = bench.events(gone_on)[-1]
    # Later than what is withdrawn, and no later than what comes.
    assert fired["epoch"] < end["epoch"] < epochs.current()
    assert history.of(bench.row(gone_on)) == bench.events(gone_on)


def test_an_emptied_redis_is_in_no_epoch_to_tell_an_end_anew_in(bench, gone_on):
    before = history.of(bench.row(gone_on))
    memory.empty()
    with pytest.raises(epochs.Unverified):
        epochs.advance("a test")
    assert history.of(bench.row(gone_on)) == before


def test_an_end_told_anew_withdraws_what_comes_back_once_more_as_it_is(bench, gone_on):
    before = memory.copied()
    restoring.restore([gone_on], "a test")
    told = bench.events(gone_on)
    memory.come_back(before)
    assert bench.statuses(gone_on) == ["pending", "triggered"]
    recovery.recover()
    assert bench.events(gone_on) == told


def test_a_redis_not_yet_compared_tells_nothing_behind_what_a_client_has_seen(bench, gone_on):
    before = memory.copied()
    restoring.restore([gone_on], "a test")
    end = Cursor(2, bench.events(gone_on)[-1]["epoch"])
    memory.come_back(before)
    assert [event_codec.load(text)["status"] for text in live.events([gone_on])[gone_on]] == ["pending", "triggered"]
    assert order_view.history(gone_on, end) == order_view.History((), finished=False, owner=OWNER)
    recovery.recover()
    assert order_view.history(gone_on, end) == order_view.History((), finished=True, owner=OWNER)


def test_who_was_told_an_end_that_redis_forgot_is_not_rewound_while_it_is_told_once_more(bench, monkeypatch):
    (order_id,) = bench.accept(bench.limit("150"))
    epochs.current()
    finish, reserved = swaps.finish, []

    def remember(*asked):
        reserved.append(memory.copied())
        finish(*asked)

    monkeypatch.setattr(swaps, "finish", remember)
    waiting.cancel(order_id)
    monkeypatch.undo()
    told = bench.events(order_id)
    end = Cursor(2, told[-1]["epoch"])
    memory.come_back(reserved[0])
    recovery.recover()
    assert order_view.history(order_id, end) == order_view.History((), finished=False, owner=OWNER)
    decisions.complete([order_id])
    assert bench.events(order_id) == told
    assert order_view.history(order_id, end) == order_view.History((), finished=True, owner=OWNER)


def test_an_order_that_ends_while_its_last_event_is_told_anew_ends_all_the_same(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.carry([order_id])
    bench.archive()
    # As if Redis had come back with another `submitted` event than Postgres has.
    with forged():
        bench.sql("UPDATE orders_orderevent SET at = at - interval '1 s' WHERE seq = 4")

    def ends_first(reason, advance=epochs.advance):
        while settlement.look():
            pass
        assert bench.statuses(order_id)[-1] == "confirmed"
        return advance(reason)

    with monkeypatch.context() as racing:
        racing.setattr(epochs, "advance", ends_first)
        assert restoring.restore([order_id], "a test") == set()
    bench.archive()
    assert bench.row(order_id).status == "submitted"
    for _ in range(2):
        recovery.repair([order_id])
        while settlement.look():
            pass
        settlement.revisit([order_id])
        bench.archive()
    assert bench.row(order_id).status == "confirmed" and models.Attempt.objects.get().state == "landed"
    assert history.of(bench.row(order_id)) == bench.events(order_id)


def test_what_postgres_has_of_an_order_is_what_was_told_and_not_what_an_attempt_implies(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.carry([order_id])
    bench.archive()
    # As the version before wrote it: without the time at which its order was submitted.
    bench.sql("UPDATE orders_attempt SET submitted_at = NULL, epoch = 0")
    assert history.of(bench.row(order_id)) == bench.events(order_id)
