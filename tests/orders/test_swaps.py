"""Compare-and-sets: one atomic step per change, and nobody moves an order that is not where he believes it to be."""

import pytest
from redis.exceptions import ResponseError

from engine.lifecycle import Status
from orders.stores import claims, live, swaps
from orders.stores.swaps import Becoming, Where
from routing import epochs
from routing.store import redis
from tests.orders.swapping import carry_out, claimed, step, swap

SIGNATURE = "s" * 88


@pytest.fixture
def claim(bench):
    (order_id,) = bench.place()
    return claimed(order_id)


def texts(order_id):
    return live.events([order_id])[order_id]


def stands(claim):
    one = live.statuses([claim.order.id])[claim.order.id]
    return one.status, one.seq


def test_a_step_moves_the_status_the_events_and_the_feed_together(claim):
    before = redis().xlen(live.FEED)
    assert step(claim) == {claim.order.id}
    assert stands(claim) == (Status.ROUTING, 2)
    assert texts(claim.order.id)[1] == '{"n":1}'
    assert redis().xlen(live.FEED) == before + 1
    newest = redis().xrevrange(live.FEED, count=1)[0][1]["b"]
    assert newest == f'{claim.order.id} 2 0 {{"n":1}}'


@pytest.mark.parametrize(
    "wrong",
    [{"status": Status.BUILDING}, {"seq": 7}, {"fence": "another"}, {"seq": None, "fence": None, "tx": SIGNATURE}],
    ids=["status", "seq", "fence", "transaction"],
)
def test_a_step_from_a_wrong_belief_changes_nothing(claim, wrong):
    before = redis().xlen(live.FEED)
    assert step(claim, **wrong) == set()
    assert stands(claim) == (Status.PENDING, 1)
    assert len(texts(claim.order.id)) == 1
    assert redis().xlen(live.FEED) == before


def test_of_two_who_make_the_same_move_one_wins(claim):
    moves = [swap(claim, event='{"by":1}', fence=None), swap(claim, event='{"by":2}', fence=None)]
    assert [carry_out(move) for move in moves] == [{claim.order.id}, set()]
    assert texts(claim.order.id)[1:] == ['{"by":1}']


def test_a_step_repeated_after_a_lost_reply_counts_as_won_and_is_told_once(claim):
    once = swap(claim)
    assert carry_out(once) == carry_out(once) == {claim.order.id}
    assert len(texts(claim.order.id)) == 2


def test_one_step_that_loses_does_not_hold_back_the_others(bench):
    held = claims.claim(bench.place(3)).claims
    moves = [swap(claim) for claim in held]
    moves[1] = swap(held[1], seq=9)
    assert carry_out(*moves) == {held[0].order.id, held[2].order.id}


def test_a_kept_order_cannot_be_claimed_and_one_let_go_can(claim):
    step(claim, keep=True, look_in_ms=60_000)
    assert claims.claim([claim.order.id]).claims == []
    step(claim, to=Status.BUILDING, status=Status.ROUTING, seq=2)
    assert len(claims.claim([claim.order.id]).claims) == 1


def test_a_finished_order_leaves_the_open_ones(claim):
    assert redis().zscore(live.OPEN, claim.order.id) is not None
    step(claim, to=Status.FAILED)
    assert redis().zscore(live.OPEN, claim.order.id) is None
    assert redis().xrevrange(live.FEED, count=1)[0][1]["b"].split(" ")[2] == "1"
    assert claims.claim([claim.order.id]) == claims.Claimed()


def test_a_step_that_names_an_epoch_that_is_over_is_refused(claim):
    before = epochs.current()
    epochs.advance("a test")
    with pytest.raises(ResponseError, match="EPOCH"):
        swaps.advance(before, [swap(claim)])
    assert stands(claim) == (Status.PENDING, 1)


def submitted(claim):
    step(claim, to=Status.SUBMITTED, sent=SIGNATURE)
    return Where(claim.order.id, Status.SUBMITTED, None, tx=SIGNATURE)


def test_a_submitted_order_is_moved_by_its_transaction_whatever_its_seq(claim):
    where = submitted(claim)
    event = '{"orderId":"x","epoch":1,"seq":0,"status":"confirmed"}'
    moves = [swaps.Swap(where, Becoming(Status.CONFIRMED), (event,))]
    assert swaps.advance(epochs.current(), moves) == {claim.order.id}
    assert texts(claim.order.id)[-1] == event.replace('"seq":0', '"seq":3')
    # Its reply lost, it is the same again.
    assert swaps.advance(epochs.current(), moves) == {claim.order.id}
    assert len(texts(claim.order.id)) == 3


def test_another_transaction_than_that_it_is_submitted_as_moves_nothing(claim):
    submitted(claim)
    where = Where(claim.order.id, Status.SUBMITTED, None, tx="t" * 88)
    assert swaps.advance(epochs.current(), [swaps.Swap(where, Becoming(Status.CONFIRMED), ("{}",))]) == set()


def reserve(claim, intent="mine", event='{"end":1}', **where):
    believed = {"status": claim.status, "seq": claim.seq, "fence": claim.fence, **where}
    asked = [(Where(claim.order.id, **believed), intent, [event])]
    return swaps.reserve(epochs.current(), 5_000, asked)


def test_a_reserved_order_cannot_move_be_claimed_or_be_reserved_by_another(bench, claim):
    (one,) = reserve(claim)
    assert (one.order_id, one.events) == (claim.order.id, ('{"end":1}',)) and len(one.before) == 1
    assert step(claim) == step(claim, fence=None) == set() and reserve(claim, "theirs", fence=None) == []
    assert claims.claim([claim.order.id]) == claims.Claimed()
    assert stands(claim) == (Status.PENDING, 1) and len(texts(claim.order.id)) == 1


def test_a_reservation_repeated_after_a_lost_reply_is_the_same(claim):
    assert reserve(claim) == reserve(claim) != []


def test_whoever_comes_when_a_reservations_lease_is_over_finds_what_was_intended(bench, claim):
    (one,) = reserve(claim)
    bench.pass_time(claim.order.id, 10_000)
    assert claims.claim([claim.order.id]).intended == [claim.order.id]
    assert live.due(10).intended == [claim.order.id]
    assert swaps.reserved([claim.order.id, "unknown"]) == [one]


@pytest.mark.parametrize("committed", [True, False])
def test_what_is_reserved_is_told_once_it_is_committed_and_given_up_otherwise(claim, committed):
    (one,) = reserve(claim)
    for _ in range(2):
        swaps.finish(epochs.current(), [(one, Becoming(Status.FAILED), committed)])
    assert stands(claim) == ((Status.FAILED, 2) if committed else (Status.PENDING, 1))
    assert texts(claim.order.id)[1:] == (['{"end":1}'] if committed else [])
    assert len(claims.claim([claim.order.id]).claims) == (0 if committed else 1)


def test_a_resting_order_is_out_of_the_book_while_it_is_reserved_and_back_when_that_is_given_up(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    where = Where(order_id, Status.PENDING, 1)
    (one,) = swaps.reserve(epochs.current(), 5_000, [(where, "mine", ["{}"])])
    assert redis().zscore("limit_bucket:{SOL-USDC}:150", order_id) is None
    swaps.finish(epochs.current(), [(one, Becoming(Status.CANCELLED), False)])
    assert redis().zscore("limit_bucket:{SOL-USDC}:150", order_id) is not None
    assert redis().zscore(live.OPEN, order_id) is None
