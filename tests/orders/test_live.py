"""The live state: one atomic step per change, and nobody moves an order they do not hold."""

import threading

import pytest
from django.db import connection

from engine.lifecycle import Status
from orders import bodies, live
from orders.live import Swap
from routing.store import redis


def swap(claim, to=Status.ROUTING, event='{"n":1}', keep=False, look_in_ms=0, **changes):
    """Make a step for a claimed order."""
    fields = {"order_id": claim.order.id, "status": claim.status, "seq": claim.seq, "fence": claim.fence}
    return Swap(**{**fields, "to": to, "events": (event,), "look_in_ms": look_in_ms, "keep": keep, **changes})


def texts(order_id):
    return live.events([order_id])[order_id]


@pytest.fixture
def claim(bench):
    (order_id,) = bench.place()
    return live.claim([order_id]).claims[0]


def test_an_order_comes_back_from_its_hash_as_it_went_in(bench):
    order = bench.order(client_order_id="mine").order
    assert bodies.order_from(bodies.loads(bodies.dumps(order))) == order


def test_a_claim_carries_the_order_and_the_events_it_has_had(bench, claim):
    assert claim.order == bench.order().order.__class__(claim.order.id, "market", bench.pair, 1_500_000_000, 50, None)
    assert (claim.status, claim.seq, claim.attempt, claim.trail) == (Status.PENDING, 1, 1, ())
    live.advance([swap(claim)])
    (again,) = live.claim([claim.order.id]).claims
    assert (again.seq, again.attempt, again.trail) == (2, 2, ('{"n":1}',))
    assert again.fence != claim.fence


def test_a_step_moves_the_status_the_events_and_the_feed_together(claim):
    before = redis().xlen(live.FEED)
    assert live.advance([swap(claim)]) == {claim.order.id}
    assert live.statuses([claim.order.id]) == {claim.order.id: (Status.ROUTING, 2)}
    assert texts(claim.order.id)[1] == '{"n":1}'
    assert redis().xlen(live.FEED) == before + 1
    newest = redis().xrevrange(live.FEED, count=1)[0][1]["b"]
    assert newest == f'{claim.order.id} 2 0 {{"n":1}}'


@pytest.mark.parametrize(
    "wrong", [{"status": Status.BUILDING}, {"seq": 7}, {"fence": "another"}], ids=["status", "seq", "fence"]
)
def test_a_step_from_a_wrong_belief_changes_nothing(claim, wrong):
    before = redis().xlen(live.FEED)
    assert live.advance([swap(claim, **wrong)]) == set()
    assert live.statuses([claim.order.id]) == {claim.order.id: (Status.PENDING, 1)}
    assert len(texts(claim.order.id)) == 1
    assert redis().xlen(live.FEED) == before


def test_of_two_who_make_the_same_move_one_wins(claim):
    moves = [swap(claim, event='{"by":1}', fence="*"), swap(claim, event='{"by":2}', fence="*")]
    assert [live.advance([move]) for move in moves] == [{claim.order.id}, set()]
    assert texts(claim.order.id)[1:] == ['{"by":1}']


def test_a_step_repeated_after_a_lost_reply_counts_as_won_and_is_told_once(claim):
    once = swap(claim)
    assert live.advance([once]) == live.advance([once]) == {claim.order.id}
    assert len(texts(claim.order.id)) == 2


def test_one_step_that_loses_does_not_hold_back_the_others(bench):
    claims = live.claim(bench.place(3)).claims
    moves = [swap(claim) for claim in claims]
    moves[1] = swap(claims[1], seq=9)
    assert live.advance(moves) == {claims[0].order.id, claims[2].order.id}


def test_a_kept_order_cannot_be_claimed_and_one_let_go_can(claim):
    live.advance([swap(claim, keep=True, look_in_ms=60_000)])
    assert live.claim([claim.order.id]).claims == []
    live.advance([swap(claim, to=Status.BUILDING, status=Status.ROUTING, seq=2)])
    assert len(live.claim([claim.order.id]).claims) == 1


def test_a_finished_order_leaves_the_open_ones(claim):
    assert redis().zscore(live.OPEN, claim.order.id) is not None
    live.advance([swap(claim, to=Status.FAILED)])
    assert redis().zscore(live.OPEN, claim.order.id) is None
    assert redis().xrevrange(live.FEED, count=1)[0][1]["b"].split(" ")[2] == "1"
    assert live.claim([claim.order.id]) == live.Claimed([], [], [])


def test_claims_say_which_orders_need_another_door(bench, claim):
    live.advance([swap(claim, to=Status.SUBMITTED)])
    answer = live.claim([claim.order.id, "unknown"])
    assert (answer.claims, answer.submitted, answer.missing) == ([], [claim.order.id], ["unknown"])


def test_an_order_named_twice_is_claimed_once(bench):
    (order_id,) = bench.place()
    assert len(live.claim([order_id, order_id]).claims) == 1


def test_workers_that_race_for_orders_share_them_out(bench):
    ids = bench.place(40)
    gate, found = threading.Barrier(4, timeout=10), []

    def take():
        gate.wait()
        try:
            found.extend(claim.order.id for claim in live.claim(ids).claims)
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(found) == sorted(ids)


def test_holding_on_keeps_others_away_longer_but_only_for_the_holder(bench, claim, settings):
    live.hold([claim], 60_000)
    bench.pass_time(claim.order.id, settings.ORDER_LEASE_MS + 100)
    assert live.claim([claim.order.id]).claims == []
    bench.pass_time(claim.order.id, 60_000)
    (other,) = live.claim([claim.order.id]).claims
    live.hold([claim], 600_000)
    bench.pass_time(claim.order.id, settings.ORDER_LEASE_MS + 100)
    assert len(live.claim([other.order.id]).claims) == 1


def test_an_order_is_due_when_its_time_has_come_and_then_put_off(bench):
    (order_id,) = bench.place()
    assert live.due(10) == ([], [], [])
    bench.pass_time(order_id, live.GRACE_MS + 100)
    assert live.due(10) == ([order_id], [], [])
    assert live.due(10) == ([], [], [])


def test_the_feed_keeps_only_so_many_entries(bench, monkeypatch):
    monkeypatch.setattr(live, "FEED_MAX", 100)
    for _ in range(250):
        live.place([placement(bench)])
    assert redis().xlen(live.FEED) < 250


def placement(bench):
    return live.Placement(bench.order().order, Status.PENDING, 0, ('{"n":1}',), 0)


def test_events_past_a_seq_are_those_after_it(claim):
    live.advance([swap(claim)])
    assert live.events([claim.order.id], after=1) == {claim.order.id: ['{"n":1}']}
    assert live.events([claim.order.id], after=2) == {}
    assert live.events([]) == {}


def test_feeding_again_repeats_every_event_and_marks_the_last(claim):
    live.advance([swap(claim, to=Status.FAILED)])
    live.feed_again([claim.order.id, "unknown"])
    lines = redis().xrevrange(live.FEED, count=1)[0][1]["b"].split("\n")
    assert [line.split(" ")[1:3] for line in lines] == [["1", "0"], ["2", "1"]]
