"""Limit orders under faults: a claim whose reply is lost, a claim whose pair is paused, an ioc order found too late."""

from datetime import UTC, datetime, timedelta

import pytest
from redis.connection import Connection
from redis.exceptions import TimeoutError as ReplyLost

from engine.orders import TimeInForce
from orders import models
from orders.flow import dispatch, limits, pauses, recovery
from orders.flow.limits import IOC_WITHIN_MS
from orders.flow.sweep import sweep
from orders.models import Pause
from orders.stores import book
from routing.store import now_ms, redis
from tests.orders.book import older_redis
from tests.orders.test_limits import PAIR, fired, lapse_claims, woken

pytestmark = pytest.mark.usefixtures("no_pauses")

CLAIMS = "limit_claims:{SOL-USDC}"
IOC = {"time_in_force": TimeInForce.IOC}


@pytest.fixture
def lose_reply(monkeypatch):
    """Have the next reply of Redis be lost after the command was carried out, once."""
    read = Connection.read_response

    def arm():
        def losing(self, *args, **options):
            monkeypatch.setattr(Connection, "read_response", read)
            read(self, *args, **options)
            raise ReplyLost("the reply was lost")

        monkeypatch.setattr(Connection, "read_response", losing)

    return arm


def claim(bench):
    """Claim what the price has reached, as a worker does before it dies."""
    return book.claim(PAIR, limits.sight([PAIR])[PAIR], now_ms())


def test_a_claim_repeated_after_a_lost_reply_is_the_same_claim(bench, monkeypatch, lose_reply):
    monkeypatch.setattr(book, "CLAIM_MAX", 3)
    ids = bench.accept(*(bench.limit("150") for _ in range(8)))
    bench.price("151")
    seen = limits.sight([PAIR])[PAIR]
    book.claim(PAIR, seen, now_ms())
    lose_reply()
    made = book.claim(PAIR, seen, now_ms())
    assert made.ids == tuple(ids[3:6])
    assert redis().hlen(CLAIMS) == 2
    assert book.claimed([PAIR]) == set(ids[:6])


def test_an_order_fires_though_the_reply_to_its_claim_was_lost(bench, lose_reply):
    ids = bench.accept(*(bench.limit("150") for _ in range(3)))
    bench.price("151")
    seen = limits.sight([PAIR])[PAIR]
    lose_reply()
    limits.trigger(book.claim(PAIR, seen, now_ms()))
    assert [bench.statuses(order_id) for order_id in ids] == [["pending", "triggered"]] * 3
    assert redis().hlen(CLAIMS) == 0


def test_an_order_whose_firing_redis_has_forgotten_is_fired_again(bench, monkeypatch):
    (order_id,) = bench.accept(bench.limit("150"))
    bench.price("151")
    real = limits.set_off

    def forgotten_at_once(*fired):
        forget = older_redis()
        real(*fired)
        forget()

    monkeypatch.setattr(limits, "set_off", forgotten_at_once)
    limits.check()
    monkeypatch.undo()
    recovery.recover()
    assert bench.statuses(order_id) == ["pending"]
    lapse_claims()
    limits.check()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_a_dead_workers_claim_of_a_paused_pair_fires_nothing_and_rests_until_the_pair_is_resumed(bench):
    ids = bench.accept(*(bench.limit("150") for _ in range(3)))
    bench.price("151")
    claim(bench)
    pauses.pause("pair", PAIR, "a test", "ops")
    lapse_claims()
    limits.check()
    assert [bench.statuses(order_id) for order_id in ids] == [["pending"]] * 3
    assert book.where(ids, [f"limit {PAIR} 150"] * 3) == [True] * 3
    assert redis().hlen(CLAIMS) == 0
    pauses.resume(Pause.objects.get(), "ops")
    bench.price("149")
    limits.check()
    assert [bench.statuses(order_id) for order_id in ids] == [["pending"]] * 3
    bench.price("151")
    limits.check()
    assert [bench.statuses(order_id) for order_id in ids] == [["pending", "triggered"]] * 3
    assert fired(bench) == ids


def test_an_ioc_order_in_a_dead_workers_claim_of_a_paused_pair_is_cancelled_and_does_not_rest(bench):
    (order_id,) = bench.accept(bench.limit("150", **IOC))
    bench.price("151")
    claim(bench)
    pauses.pause("pair", PAIR, "a test", "ops")
    lapse_claims()
    limits.check()
    assert bench.statuses(order_id) == ["pending", "cancelled"]
    assert bench.events(order_id)[-1]["reason"] == "ioc: no price to fire on: SOL-USDC is paused: a test"


def accepted_ago(order_ids, ms):
    """Have orders been accepted so long ago, by the clock that says so."""
    models.Order.objects.filter(pk__in=order_ids).update(created_at=datetime.now(UTC) - timedelta(milliseconds=ms))


def test_an_ioc_order_whose_wake_up_was_lost_is_cancelled_and_not_fired_a_minute_late(bench):
    bench.price("149")
    (order_id,) = bench.accept(bench.limit("150", **IOC))
    redis().delete("limit")
    accepted_ago([order_id], 60_000)
    bench.pass_time(order_id, 60_000)
    sweep()
    assert woken(bench, dispatch.FIRE) == [[order_id]]
    bench.price("151")
    limits.fire_or_cancel([order_id])
    assert bench.statuses(order_id) == ["pending", "cancelled"]
    assert bench.events(order_id)[-1]["reason"] == "ioc: not tried within 5 s of acceptance"


def test_an_ioc_order_that_was_not_tried_in_time_is_not_fired_by_a_later_price_either(bench):
    late, in_time = bench.accept(bench.limit("150", **IOC), bench.limit("150", **IOC))
    resting = bench.accept(bench.limit("150"))
    accepted_ago([late], IOC_WITHIN_MS + 100)
    bench.price("151")
    limits.check()
    assert bench.statuses(late) == ["pending", "cancelled"]
    assert bench.statuses(in_time) == bench.statuses(*resting) == ["pending", "triggered"]
    assert fired(bench) == [in_time, *resting]


def test_an_ioc_order_that_is_late_by_less_than_that_fires(bench):
    (order_id,) = bench.accept(bench.limit("150", **IOC))
    accepted_ago([order_id], IOC_WITHIN_MS - 2_000)
    bench.price("151")
    limits.fire_or_cancel([order_id])
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_orders_that_may_rest_cost_no_question_about_their_age(bench, django_assert_num_queries):
    bench.accept(*(bench.limit("150") for _ in range(5)))
    bench.price("151")
    limits.check()
    bench.accept(*(bench.limit("150") for _ in range(5)))
    with django_assert_num_queries(0):
        limits.fire(PAIR)
