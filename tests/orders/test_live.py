"""The live state of orders: what it holds, how it is read, and who must look at an order when."""

from dataclasses import replace

import pytest

from engine.lifecycle import Status
from orders.stores import live, order_codec, placing, rebuild_marks
from routing.store import redis
from tests.orders.swapping import claimed, step


def test_an_order_comes_back_from_its_hash_as_it_went_in(bench):
    order = replace(bench.order(client_order_id="mine").order, deadline=7, terms_seq=3)
    assert order_codec.order_from(order_codec.loads(order_codec.dumps(order))) == order


def test_an_order_is_due_when_its_time_has_come_and_then_put_off(bench):
    (order_id,) = bench.place()
    assert live.due(10) == live.Due([], [], [], [])
    bench.pass_time(order_id, live.GRACE_MS + 100)
    assert live.due(10) == live.Due([order_id], [], [], [])
    assert live.due(10) == live.Due([], [], [], [])


def test_while_the_queue_is_long_only_orders_that_nobody_has_begun_are_left_to_it(bench):
    bench.quote_all()
    begun, fresh = bench.place(2)
    step(claimed(begun), keep=True)
    for order_id in (begun, fresh):
        bench.pass_time(order_id, 60_000)
    assert live.due(10, queue_is_long=True).hints == [begun]
    bench.pass_time(fresh, 60_000)
    assert fresh in live.due(10).hints


def test_the_feed_keeps_only_so_many_entries(bench, monkeypatch):
    monkeypatch.setattr(placing, "FEED_MAX", 100)
    for _ in range(250):
        placing.place([placement(bench)])
    assert redis().xlen(live.FEED) < 250


def placement(bench):
    return placing.Placement(bench.order().order, Status.PENDING, 0, ('{"n":1}',), 0)


def test_an_order_is_replaced_only_while_it_stands_as_it_was_seen(bench):
    (order_id,) = bench.place()
    seen = live.statuses([order_id])[order_id]
    other = replace(placement(bench), order=replace(bench.order().order, id=order_id), events=("1", "2"), instead=seen)
    step(claimed(order_id))
    assert placing.place([other]) == set()
    again = replace(other, instead=live.statuses([order_id])[order_id])
    assert placing.place([again]) == {order_id}
    assert live.events([order_id]) == {order_id: ["1", "2"]} and live.statuses([order_id])[order_id].seq == 2


def test_events_past_a_seq_are_those_after_it(bench):
    (order_id,) = bench.place()
    step(claimed(order_id))
    assert live.events([order_id], after=1) == {order_id: ['{"n":1}']}
    assert live.events([order_id], after=2) == {}
    assert live.events([]) == {}


def test_feeding_again_repeats_every_event_and_marks_the_last(bench):
    (order_id,) = bench.place()
    step(claimed(order_id), to=Status.FAILED)
    live.feed_again([order_id, "unknown"])
    lines = redis().xrevrange(live.FEED, count=1)[0][1]["b"].split("\n")
    assert [line.split(" ")[1:3] for line in lines] == [["1", "0"], ["2", "1"]]


def test_a_rebuild_is_done_only_in_the_epoch_it_began_in(bench):
    bench.place()
    claimed(bench.ids[0])
    epoch = int(redis().get("store:epoch"))
    assert rebuild_marks.mark_rebuilt(epoch) and rebuild_marks.is_rebuilt(epoch)
    redis().flushdb()
    assert not rebuild_marks.mark_rebuilt(epoch) and not rebuild_marks.is_rebuilt(epoch)


@pytest.mark.parametrize("place", ["limit SOL-USDC 150", "limit SOL-USDC 151"])
def test_only_what_does_not_rest_at_a_place_is_taken_out_of_it(bench, place):
    (order_id,) = bench.accept(bench.limit("150"))
    redis().zadd("limit_bucket:{SOL-USDC}:151", {order_id: 1})
    assert live.evict(place, [order_id]) == (1 if place.endswith("151") else 0)
    assert redis().zscore("limit_bucket:{SOL-USDC}:150", order_id) is not None
