"""The sweep finds orders whose wake-up or worker was lost."""

import time

from django.db import DatabaseError

from orders.flow import sweep
from orders.stores import claims, live
from routing.store import redis
from tests.orders.losses import hints, lose_redis
from tests.orders.swapping import claimed, step


def refuse(_):
    raise DatabaseError


def test_the_sweep_wakes_an_order_whose_wake_up_was_lost(bench):
    (order_id,) = bench.place()
    redis().delete("order")
    assert sweep.sweep() == 0
    bench.pass_time(order_id, live.GRACE_MS + 100)
    assert sweep.sweep() == 1
    assert hints() == [order_id]


def test_the_sweep_wakes_an_order_whose_worker_died(bench, settings):
    (order_id,) = bench.place()
    claims.claim([order_id])
    redis().delete("order")
    bench.pass_time(order_id, settings.ORDER_LEASE_MS + 100)
    sweep.sweep()
    assert hints() == [order_id]


def test_the_sweep_backs_off_per_order_from_5_seconds_to_60(bench):
    (order_id,) = bench.place()
    waits = []
    for _ in range(6):
        redis().zadd(live.OPEN, {order_id: 0})
        before = time.time() * 1000
        sweep.sweep()
        waits.append(round((redis().zscore(live.OPEN, order_id) - before) / 1000))
    assert waits == [5, 10, 20, 40, 60, 60]


def test_while_the_queue_is_long_the_sweep_wakes_those_alone_that_it_will_not(bench, monkeypatch, settings):
    monkeypatch.setattr(sweep, "QUEUE_LONG", 2)
    fresh, begun = bench.place(2)
    claims.claim([begun])
    step(claimed_again(bench, begun), keep=True)
    bench.pass_time(begun, settings.ORDER_LEASE_MS + 100)
    redis().zadd(live.OPEN, {fresh: 0})
    redis().delete("order")
    redis().lpush("order", *["{}"] * 3)
    assert sweep.sweep() == 1
    assert hints() == [begun]
    redis().zadd(live.OPEN, {fresh: 0})
    assert sweep.sweep() == 1 and hints() == [fresh]


def claimed_again(bench, order_id):
    """Claim an order whose worker is gone."""
    bench.pass_time(order_id, 60_000)
    return claimed(order_id)


def test_the_sweep_restores_an_order_whose_state_alone_is_gone(bench):
    (order_id,) = bench.place()
    redis().delete("order", live.key(order_id), f"{live.key(order_id)}:events")
    redis().zadd(live.OPEN, {order_id: 0})
    assert sweep.sweep() == 1
    assert bench.statuses(order_id) == ["pending"]
    assert hints() == [order_id]


def test_a_wake_up_for_an_order_that_redis_lost_restores_it(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    lose_redis(bench)
    bench.carry([order_id])
    assert bench.statuses(order_id) == ["pending"]
    assert hints() == [order_id]
