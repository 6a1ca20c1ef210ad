"""Claims: one worker at a time, under a fence, for as long as its lease runs."""

import threading

import pytest
from django.db import connection

from engine.lifecycle import Status
from orders.stores import claims, live
from routing import epochs
from routing.store import StoreError, now_ms, redis
from tests.orders.swapping import claimed, step


@pytest.fixture
def claim(bench):
    (order_id,) = bench.place()
    return claimed(order_id)


def field(claim, name):
    return redis().hget(live.key(claim.order.id), name)


def test_a_claim_carries_the_order_and_the_events_it_has_had(bench, claim):
    assert (claim.order.pair, claim.order.amount_in) == (bench.pair, 1_500_000_000) and claim.order.deadline
    assert (claim.status, claim.seq, claim.attempt, claim.trail) == (Status.PENDING, 1, 1, ())
    step(claim)
    again = claimed(claim.order.id)
    assert (again.seq, again.attempt, again.trail) == (2, 2, ('{"n":1}',))
    assert again.fence != claim.fence


def test_claims_say_which_orders_need_another_door(claim):
    step(claim, to=Status.SUBMITTED, sent="s" * 88)
    answer = claims.claim([claim.order.id, "unknown"])
    assert (answer.claims, answer.submitted, answer.missing) == ([], [claim.order.id], ["unknown"])


def test_an_order_named_twice_is_claimed_once(bench):
    (order_id,) = bench.place()
    assert len(claims.claim([order_id, order_id]).claims) == 1


def test_workers_that_race_for_orders_share_them_out(bench):
    ids = bench.place(40)
    gate, found = threading.Barrier(4, timeout=10), []

    def take():
        gate.wait()
        try:
            found.extend(claim.order.id for claim in claims.claim(ids).claims)
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(found) == sorted(ids)


def test_a_worker_that_lives_keeps_what_it_has_in_hand_and_one_that_does_not_loses_it(bench, claim, settings):
    late = settings.ORDER_LEASE_MS + 100
    with claims.hands.holding([claim]):
        bench.pass_time(claim.order.id, late)
        assert claims.hands.renew() == 1
        assert claims.claim([claim.order.id]).claims == []
    assert claims.hands.renew() == 0
    bench.pass_time(claim.order.id, late)
    other = claimed(claim.order.id)
    # Frozen until now, it renews what is another's.
    with claims.hands.holding([claim]):
        before = field(other, "lease")
        claims.hands.renew()
        assert (field(other, "lease"), field(other, "fence")) == (before, other.fence)


def test_what_could_not_be_tried_is_handed_back_at_once_and_uses_up_no_try(bench, claim):
    claims.hand_back([claim], tried=False)
    assert field(claim, "lease") == "0"
    bench.pass_time(claim.order.id, claims.AWAY_MS)
    again = claimed(claim.order.id)
    assert (again.attempt, again.tries, again.away) == (1, 1, 1)


def test_a_claim_whose_answer_was_lost_is_handed_back_and_uses_up_no_try(bench, monkeypatch):
    (order_id,) = bench.place()
    real = claims.take

    def unanswered(*asked):
        real(*asked)
        raise StoreError("timed out")

    monkeypatch.setattr(claims, "take", unanswered)
    with pytest.raises(StoreError):
        claims.claim([order_id])
    monkeypatch.undo()
    assert claims.claim([order_id]).claims == []
    claims.hands.renew()
    bench.pass_time(order_id, 60_000)
    assert claimed(order_id).tries == 1
    assert not claims.hands.doubted


def test_what_redis_did_not_hear_of_is_handed_back_once_it_answers_and_uses_up_no_try(bench, claim, monkeypatch):
    def unheard(*_):
        raise StoreError("timed out")

    monkeypatch.setattr(claims, "HAND_BACK", lambda: unheard)
    with pytest.raises(StoreError):
        claims.hand_back([claim], tried=False)
    monkeypatch.undo()
    claims.hands.renew()
    assert field(claim, "lease") == "0"
    bench.pass_time(claim.order.id, 60_000)
    assert claimed(claim.order.id).tries == 1
    assert not claims.hands.doubted


def test_the_pause_grows_each_time_nothing_can_be_tried_up_to_its_longest(bench, claim):
    pauses = []
    for _ in range(7):
        claims.hand_back([claim], tried=False)
        due = redis().zscore(live.OPEN, claim.order.id) - now_ms()
        pauses.append(round(due / claims.AWAY_MS))
        bench.pass_time(claim.order.id, 60_000)
        claim = claimed(claim.order.id)
    assert pauses == [1, 2, 4, 8, 16, 16, 16]


def test_what_went_wrong_counts_like_a_workers_death(bench, claim):
    claims.hand_back([claim], tried=True)
    bench.pass_time(claim.order.id, 60_000)
    assert (claimed(claim.order.id).attempt, field(claim, "lapses")) == (2, "1")


def test_a_worker_hands_back_only_what_is_still_its_own(bench, claim):
    bench.pass_time(claim.order.id, 60_000)
    other = claimed(claim.order.id)
    claims.hand_back([claim], tried=False)
    assert field(other, "fence") == other.fence and field(other, "lease") != "0"
    step(other, keep=False)
    claims.hand_back([other], tried=False)
    assert field(other, "attempt") == "2"


def test_an_order_that_two_workers_did_not_hand_back_is_claimed_by_itself_alone(bench, claim):
    (beside,) = bench.place()
    for _ in range(2):
        bench.pass_time(claim.order.id, 60_000)
        claims.claim([claim.order.id], alone=True)
    bench.pass_time(claim.order.id, 60_000)
    answer = claims.claim([claim.order.id, beside])
    assert ([one.order.id for one in answer.claims], answer.alone) == ([beside], [claim.order.id])
    assert claimed(claim.order.id, alone=True).tries == 4


def test_one_worker_at_a_time_carries_an_order_by_itself(bench, monkeypatch):
    monkeypatch.setattr(claims, "ALONE_WAIT_S", 0.05)
    with claims.alone() as first, claims.alone() as second:
        assert (first, second) == (True, False)
    with claims.alone() as again:
        assert again


def test_a_claim_that_lapsed_because_redis_was_away_counts_for_nothing(bench, claim):
    epochs.advance("redis was started again")
    bench.pass_time(claim.order.id, 60_000)
    again = claimed(claim.order.id)
    assert (again.attempt, field(claim, "lapses")) == (1, None)


def test_orders_that_go_their_way_are_under_no_suspicion(bench, claim):
    bench.pass_time(claim.order.id, 60_000)
    again = claimed(claim.order.id)
    assert field(claim, "lapses") == "1"
    step(again)
    assert field(claim, "lapses") is None


def test_who_comes_before_a_lease_is_over_comes_again_when_it_is(bench, claim):
    redis().zadd(live.OPEN, {claim.order.id: 0})
    assert live.due(10).hints == [claim.order.id]
    assert claims.claim([claim.order.id]) == claims.Claimed()
    assert redis().zscore(live.OPEN, claim.order.id) == float(field(claim, "lease"))
