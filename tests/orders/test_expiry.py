"""Waiting orders end on time, whoever of those that see to it is gone."""

import pytest

from engine.orders import TimeInForce
from orders.flow import decisions, duties, waiting
from orders.flow.decisions import Decision
from orders.stores import book, swaps
from routing import epochs
from routing.store import now_ms, redis


def due(bench, count=1):
    """Accept orders that are to expire at once, and let their time come."""
    expires = now_ms() + 50
    ids = bench.accept(*(bench.limit("150", expires_at=expires, time_in_force=TimeInForce.GTD) for _ in range(count)))
    while now_ms() <= expires:
        pass
    return ids


@pytest.mark.parametrize("duties", [duties.order_duties, duties.limit_duties])
def test_workers_of_two_kinds_end_them(bench, duties):
    (order_id,) = due(bench)
    (duty,) = (one for one in duties() if one.name == "expire")
    duty.run()
    assert bench.statuses(order_id) == ["pending", "expired"]


def test_an_expiry_whose_worker_has_gone_is_brought_to_its_end_by_the_next_look(bench, monkeypatch):
    (order_id,) = due(bench)

    def dies(*_):
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(decisions, "carry_out", dies)
        with pytest.raises(SystemExit):
            waiting.expire()
    assert bench.statuses(order_id) == ["pending"]
    # Sooner than its lease runs out, or the sweep's pauses, which grow, come to it.
    redis().zadd("waiting:expiring", {order_id: now_ms() - 1})
    waiting.expire()
    assert bench.statuses(order_id) == ["pending", "expired"]
    assert bench.row(order_id).status == "expired"


def test_an_order_is_looked_at_again_after_a_second_at_most(bench):
    (order_id,) = due(bench)
    now = now_ms()
    assert book.expired(now, 10) == [order_id]
    assert redis().zscore("waiting:expiring", order_id) == now + book.EXPIRY_PUT_OFF_MS <= now + 1_000
    assert book.expired(now, 10) == []
    assert book.expired(now + 1_001, 10) == [order_id]


def test_two_that_look_at_once_share_what_is_due(bench):
    ids = due(bench, 4)
    now = now_ms()
    assert sorted(book.expired(now, 2) + book.expired(now, 2)) == sorted(ids)


def test_an_amendment_that_another_is_at_wins_over_the_expiry(bench):
    (order_id,) = due(bench)
    one = waiting.found(order_id)
    after = bench.limit("150", expires_at=now_ms() + 60_000, time_in_force=TimeInForce.GTD).order
    move = waiting.amendment(one, type(after)(**{**fields(after), "id": order_id, "terms_seq": 2}))

    def reserve(epoch):
        event = tuple(waiting.progress.told(move, epoch, now_ms()))
        decision = Decision(move.where, move.becoming, event, move.amends)
        asked = [(decision.where, decisions.intent_of(decision, epoch), decision.events)]
        return swaps.reserve(epoch, 5_000, asked)

    assert epochs.within(reserve)
    waiting.expire()
    assert bench.statuses(order_id) == ["pending", "pending"]
    assert "amended" in bench.events(order_id)[-1]


def fields(order):
    """Return an order's fields."""
    return {name: getattr(order, name) for name in type(order).__slots__}
