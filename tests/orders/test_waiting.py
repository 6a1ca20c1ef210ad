"""Orders that wait: cancelled, amended and expired."""

from decimal import Decimal

import pytest
from django.db import OperationalError
from redis.exceptions import ConnectionError as RedisAway

from engine.lifecycle import Status
from engine.orders import OrderType, TimeInForce
from orders import models
from orders.flow import building, decisions, dispatch, execution, limits, progress, recovery, routes, sweep, waiting
from orders.stores import attempts, book, claims, live
from routing.store import now_ms, redis
from tests.orders.book import PAIR, amend, bucket, in_the_book


def test_a_cancelled_order_leaves_the_book_and_never_fires(bench):
    (order_id,) = bench.accept(bench.limit("150", expires_at=now_ms() + 60_000))
    waiting.cancel(order_id)
    bench.price("200")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "cancelled"]
    assert bench.events(order_id)[-1]["reason"] == "cancelled by the client"
    assert in_the_book() == []
    bench.archive()
    row = bench.row(order_id)
    assert row.status == "cancelled" and row.closed_at is not None


def test_a_market_order_can_be_cancelled_before_a_worker_has_it(bench):
    (order_id,) = bench.place()
    waiting.cancel(order_id)
    bench.quote_all()
    bench.run([order_id])
    assert bench.statuses(order_id) == ["pending", "cancelled"]


@pytest.mark.parametrize("stage", ["triggered", "submitted", "confirmed"])
def test_an_order_that_has_fired_cannot_be_cancelled_and_goes_on(bench, stage):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("100"))
    limits.check()
    if stage != "triggered":
        bench.carry([order_id])
    if stage == "confirmed":
        bench.run([order_id])
        bench.archive()
    with pytest.raises(waiting.NotResting) as refused:
        waiting.cancel(order_id)
    assert refused.value.status == stage
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert bench.row(order_id).closed_at is None


def test_an_order_gone_from_redis_after_its_end_says_how_it_ended(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    bench.archive()
    redis().flushdb()
    with pytest.raises(waiting.NotResting) as refused:
        waiting.cancel(order_id)
    assert (refused.value.status, refused.value.seq) == (Status.CONFIRMED, 5)


def test_an_order_that_redis_lost_is_cancelled_all_the_same(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    redis().flushdb()
    waiting.cancel(order_id)
    assert bench.statuses(order_id) == ["pending", "cancelled"]


def test_an_order_with_an_attempt_that_may_land_is_not_cancelled(bench):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("100"))
    limits.check()
    prepared = built(order_id)
    assert attempts.prepare([prepared]).stands and attempts.mark_sent([prepared.signature])
    # Redis, though, holds it as if it rested.
    redis().hset(live.key(order_id), mapping={"status": "pending", "seq": 4, "lease": 0})
    with pytest.raises(waiting.NotResting) as refused:
        waiting.cancel(order_id)
    assert refused.value.status == "submitted"
    assert bench.row(order_id).closed_at is None and bench.statuses(order_id)[-1] == "submitted"


def built(order_id):
    """Claim an order and sign its transaction, as a worker does that then hangs."""
    (claim,) = claims.claim([order_id]).claims
    routed, _ = routes.route([claim], execution.router.from_cache({PAIR}, now_ms(), 10**9, 10**9))
    ((_, prepared),) = building.build(routed)
    return prepared


@pytest.mark.parametrize("committed", [False, True], ids=["before its commit", "after its commit"])
def test_a_worker_frozen_while_its_order_is_amended_and_cancelled_sends_nothing_when_it_wakes(bench, committed):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("100"))
    limits.check()
    prepared = built(order_id)
    if committed:
        assert attempts.prepare([prepared]).stands
    # Its lease runs out, and another worker sends the order back to rest.
    bench.pass_time(order_id, 10_000)
    bench.price("90")
    bench.price("90", venue="RAYDIUM")
    bench.carry([order_id])
    assert bench.statuses(order_id)[-1] == "pending"
    amend(order_id, seq=bench.events(order_id)[-1]["seq"], amount_in=7 * 10**9, limit_price=Decimal("324"))
    assert attempts.prepare([prepared]).stands == set() and attempts.mark_sent([prepared.signature]) == set()
    waiting.cancel(order_id)
    assert bench.row(order_id).status == "cancelled"
    assert list(models.Attempt.objects.values_list("state", flat=True)) in ([], ["withdrawn"])


def test_all_of_a_pair_are_cancelled_with_a_count_and_no_others(bench):
    bench.price("100")
    ids = bench.accept(*(bench.limit("150") for _ in range(7)))
    (fired,) = bench.accept(bench.limit("90"))
    market = bench.place()
    limits.check()
    assert waiting.cancel_all(PAIR) == waiting.Cancelled(7, 1, complete=True)
    assert {bench.statuses(order_id)[-1] for order_id in ids} == {"cancelled"}
    assert bench.statuses(fired) == ["pending", "triggered"]
    assert bench.statuses(market[0]) == ["pending"]
    assert waiting.cancel_all(PAIR, OrderType.SNIPER).cancelled == 0


def test_cancelling_all_stops_in_time_and_says_that_some_are_left(bench, monkeypatch):
    monkeypatch.setattr(waiting, "ALL_WITHIN_S", -1.0)
    bench.accept(bench.limit("150"))
    assert waiting.cancel_all(PAIR) == waiting.Cancelled(0, 0, complete=False)


def test_an_amended_order_rests_at_its_new_price_and_the_old_one_fires_it_no_more(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    amend(order_id, limit_price=Decimal("160"))
    bench.price("155")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "pending"]
    assert bench.events(order_id)[-1]["amended"] == {"limitPrice": {"from": "150", "to": "160"}}
    bench.price("160")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "pending", "triggered"]
    assert bench.events(order_id)[-1]["trigger"]["limitPrice"] == "160"


def test_an_order_amended_to_a_price_that_is_there_fires_at_once(bench):
    bench.price("155")
    (order_id,) = bench.accept(bench.limit("160"))
    amend(order_id, limit_price=Decimal("155"))
    assert bench.sent(dispatch.FIRE) == [{"pairs": [PAIR]}]


def test_every_term_can_be_amended_and_is_executed_as_amended(bench):
    bench.quote_all()
    (order_id,) = bench.accept(bench.limit("200"))
    expires = now_ms() + 60_000
    amend(order_id, amount_in=2_000_000_000, expires_at=expires, time_in_force=TimeInForce.GTD)
    amend(order_id, seq=2, limit_price=Decimal("100"))
    limits.check()
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert bench.events(order_id)[-1]["amountIn"] == "2"
    row = bench.row(order_id)
    assert (row.amount_in, row.limit_price, row.terms_seq) == (2_000_000_000, 100, 3)
    assert int(row.expires_at.timestamp() * 1000) == expires


def test_an_amendment_is_in_postgres_with_its_event_before_it_is_answered(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    amend(order_id, limit_price=Decimal("160"))
    told = bench.events(order_id)
    redis().flushdb()
    recovery.recover()
    assert bench.events(order_id) == told
    assert bucket("160") == [order_id] and bucket("150") == []


def test_an_amendment_that_postgres_does_not_commit_is_told_to_nobody_and_made_by_whoever_finds_it(bench, monkeypatch):
    (order_id,) = bench.accept(bench.limit("150"))

    def away(*_):
        raise OperationalError("gone")

    monkeypatch.setattr(decisions, "write", away)
    with pytest.raises(OperationalError):
        amend(order_id, limit_price=Decimal("160"))
    assert bench.statuses(order_id) == ["pending"] and bench.row(order_id).limit_price == 150
    # Meanwhile it fires at neither price.
    assert bucket("150") == bucket("160") == []
    monkeypatch.undo()
    bench.pass_time(order_id, 10_000)
    sweep.sweep()
    assert bench.statuses(order_id) == ["pending", "pending"]
    assert bucket("160") == [order_id] and bench.row(order_id).limit_price == 160


def test_an_amendment_that_redis_refuses_changes_nothing_in_postgres(bench, monkeypatch):
    (order_id,) = bench.accept(bench.limit("150"))

    def away(_):
        raise RedisAway("gone")

    monkeypatch.setattr(progress, "advance", away)
    with pytest.raises(RedisAway):
        amend(order_id, limit_price=Decimal("160"))
    assert bench.row(order_id).limit_price == 150


def test_an_amendment_that_changes_nothing_is_no_event(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    amend(order_id, limit_price=Decimal("150.00"))
    assert bench.statuses(order_id) == ["pending"]


def test_an_amendment_of_an_order_that_has_moved_on_is_refused_with_its_last_seq(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    amend(order_id, limit_price=Decimal("160"))
    with pytest.raises(waiting.Changed) as refused:
        amend(order_id, limit_price=Decimal("170"))
    assert refused.value.seq == 2
    assert bench.row(order_id).limit_price == 160


def test_neither_a_market_order_nor_one_that_has_fired_can_be_amended(bench):
    bench.price("150")
    (market,) = bench.place()
    (fired,) = bench.accept(bench.limit("100"))
    limits.check()
    for order_id, seq in ((market, 1), (fired, 2)):
        with pytest.raises(waiting.NotResting):
            amend(order_id, seq, amount_in=10**9)


def test_another_price_or_more_of_it_sends_an_order_to_the_back_of_its_queue_and_less_does_not(bench):
    first, second, third = bench.accept(*(bench.limit("150") for _ in range(3)))
    assert bucket("150") == [first, second, third]
    amend(first, amount_in=10**9)
    assert bucket("150") == [first, second, third]
    amend(first, 2, amount_in=2 * 10**9)
    assert bucket("150") == [second, third, first]
    amend(second, limit_price=Decimal("149"))
    amend(second, 2, limit_price=Decimal("150"))
    assert bucket("150") == [third, first, second]
    redis().flushdb()
    recovery.recover()
    assert bucket("150") == [third, first, second]


def test_an_order_expires_by_the_stores_clock_and_not_before(bench):
    soon, later = bench.accept(
        bench.limit("150", expires_at=now_ms() + 300), bench.limit("150", expires_at=now_ms() + 60_000)
    )
    waiting.expire()
    assert bench.statuses(soon) == ["pending"]
    while now_ms() <= bench_expiry(soon):
        pass
    waiting.expire()
    assert (bench.statuses(soon), bench.statuses(later)) == (["pending", "expired"], ["pending"])
    assert bucket("150") == [later]
    bench.archive()
    assert bench.row(soon).status == "expired" and bench.row(soon).closed_at


def bench_expiry(order_id):
    return live.standing([order_id])[order_id].order.expires_at


def test_an_order_that_pauses_after_firing_in_vain_expires_on_time_too(bench):
    expires = now_ms() + 200
    (order_id,) = bench.accept(bench.limit("150", expires_at=expires))
    bench.price("150.10")
    limits.check()
    bench.price("149")
    bench.carry([order_id])
    while now_ms() <= expires:
        pass
    waiting.expire()
    assert bench.statuses(order_id) == ["pending", "triggered", "pending", "expired"]


def test_an_order_that_has_fired_does_not_expire(bench):
    expires = now_ms() + 100
    (order_id,) = bench.accept(bench.limit("150", expires_at=expires))
    bench.price("151")
    limits.check()
    while now_ms() <= expires:
        pass
    waiting.expire()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_an_order_that_comes_back_while_it_is_looked_at_keeps_its_expiry(bench, monkeypatch):
    expires = now_ms() + 500
    (order_id,) = bench.accept(bench.limit("150", expires_at=expires, time_in_force=TimeInForce.GTD))
    bench.price("151")
    limits.check()
    while now_ms() < expires:
        pass
    # As if its expiry had come just before it fired.
    redis().zadd("waiting:expiring", {order_id: expires})
    bench.price("140")
    forget = book.forget_expiry

    def back_in_between(*args):
        bench.carry([order_id])
        forget(*args)

    monkeypatch.setattr(book, "forget_expiry", back_in_between)
    waiting.expire()
    assert bench.statuses(order_id) == ["pending", "triggered", "pending"]
    waiting.expire()
    assert bench.statuses(order_id)[-1] == "expired"


def test_an_order_whose_expiry_was_amended_lives_by_the_new_one(bench):
    first = now_ms() + 100
    (order_id,) = bench.accept(bench.limit("150", expires_at=first, time_in_force=TimeInForce.GTD))
    amend(order_id, expires_at=first + 60_000)
    while now_ms() <= first:
        pass
    waiting.expire()
    assert bench.statuses(order_id) == ["pending", "pending"]
    amend(order_id, 2, expires_at=None, time_in_force=TimeInForce.GTC)
    assert not redis().exists("waiting:expiring")
