"""Interleavings after which an order would never end, or would take its neighbours with it."""

import threading
import time
from dataclasses import replace
from decimal import Decimal

from django.db import DatabaseError

from engine.lifecycle import AttemptState
from engine.orders import TimeInForce
from orders import models
from orders.flow import dispatch, limits, recovery, settlement, waiting
from orders.models import Attempt
from orders.operations import reconciliation
from orders.stores import live
from routing import epochs
from routing.catalogue import catalogue
from routing.chain import Finding, Landing, Look
from routing.store import now_ms, redis
from tests.orders.book import amend, bucket, older_redis
from tests.orders.locks import in_thread


def long_ago(order_id):
    """Have an order's amendment be older than what a restart is compared with."""
    models.Order.objects.filter(pk=order_id).update(updated_at="2020-01-01T00:00:00Z")


def moved_on_with_older_terms(bench):
    """Amend an order from 150 to 160, have Redis forget that, and fire it at its old price."""
    (order_id,) = bench.accept(bench.limit("150"))
    restore = older_redis()
    amend(order_id, limit_price=Decimal("160"))
    restore()
    epochs.begin("nobody compared")
    bench.price("151")
    limits.check()
    return order_id


def test_an_order_amended_long_before_an_older_redis_came_back_is_executed_as_amended(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    restore = older_redis()
    amend(order_id, limit_price=Decimal("160"))
    bench.archive()
    long_ago(order_id)
    restore()
    recovery.recover()
    # Its old price is there before reconciliation comes by.
    bench.price("151")
    limits.check()
    for _ in range(5):
        bench.carry([order_id])
        bench.archive()
        reconciliation.take()
        recovery.recover()
        bench.pass_time(order_id, 120_000)
    assert bench.statuses(order_id) == ["pending", "pending"] and bucket("160") == [order_id]
    bench.price("161")
    limits.check()
    bench.carry([order_id])
    assert bench.statuses(order_id)[-1] == "submitted"
    assert Attempt.objects.get(order_id=order_id).limit_price == 160


def test_an_order_that_moved_on_with_older_terms_than_its_row_goes_on_with_the_row(bench):
    order_id = moved_on_with_older_terms(bench)
    for _ in range(4):
        bench.carry([order_id])
        bench.pass_time(order_id, 120_000)
    assert bench.statuses(order_id) == ["pending", "pending"], bench.statuses(order_id)
    assert bucket("160") == [order_id]


def test_what_a_chain_says_that_postgres_cannot_keep_stops_no_neighbour(bench, monkeypatch):
    bench.quote_all()
    ids = bench.place(2)
    bench.carry(ids)
    bad, good = (Attempt.objects.get(order_id=i).signature for i in ids)
    findings = {
        bad: Finding(bad, Landing.REJECTED, 7, error_code="program_error", error="log: a\0b"),
        good: Finding(good, Landing.REJECTED, 7, error_code="program_error", error="plain"),
    }
    chain = settlement.chain()
    monkeypatch.setattr(type(chain), "look", lambda self, s: Look(0, {one: findings[one] for one in s}))
    redis().delete("attempts:open")
    settlement.watch([bad, good])
    settlement.look()
    assert Attempt.objects.get(signature=good).state == AttemptState.REJECTED
    assert Attempt.objects.get(signature=bad).state == AttemptState.REJECTED
    assert [bench.statuses(i)[-1] for i in ids] == ["routing", "routing"]


def test_an_order_whose_amendment_the_archive_has_replaced_goes_on_with_the_rows_terms(bench):
    order_id = moved_on_with_older_terms(bench)
    bench.archive()
    for _ in range(4):
        bench.carry([order_id])
        bench.archive()
        bench.pass_time(order_id, 120_000)
    assert bench.statuses(order_id)[-1] == "pending", bench.statuses(order_id)
    waiting.resume([order_id])
    one = live.standing([order_id])[order_id]
    assert one.order.limit_price == 160 and one.place and one.level >= 16_000
    told = bench.events(order_id)
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1)) and len(told) < 8


def test_an_order_that_expires_while_a_process_does_not_know_its_new_pair_yet_expires_all_the_same(bench):
    at = now_ms() + 300
    (order_id,) = bench.accept(bench.limit("150", time_in_force=TimeInForce.GTD, expires_at=at))
    known = catalogue()
    time.sleep(0.4)
    catalogue.reading = replace(known, pairs={}, tokens={})
    waiting.expire()
    catalogue.reading = known
    redis().zadd("waiting:expiring", {order_id: 1}, xx=True)
    waiting.expire()
    assert bench.statuses(order_id)[-1] == "expired"


def test_an_epoch_begun_by_a_process_that_was_frozen_meanwhile_does_not_follow_a_later_one(bench, monkeypatch):
    epochs.current()
    real = epochs.NEXT()

    def frozen(keys, args):
        # Its session in Postgres has ended with the lock, as with a restart of Postgres, and another goes on.
        monkeypatch.undo()
        epochs.advance("another's")
        return real(keys, args)

    monkeypatch.setattr(epochs, "NEXT", lambda: frozen)
    epochs.advance("a frozen process'")
    epochs.forget()
    assert epochs.current() == epochs.newest()
    (order_id,) = bench.accept(bench.limit("150"))
    waiting.cancel(order_id)
    assert bench.row(order_id).status == "cancelled"


def test_an_epoch_begun_by_a_process_that_was_frozen_while_redis_was_lost_twice_gives_way_to_a_later_one(
    bench, monkeypatch
):
    real = epochs.BEGIN()

    def frozen(keys, args):
        # Another's is committed, and Redis lost again before anybody has begun the next.
        monkeypatch.undo()
        epochs.StoreEpoch.objects.create(run="another's", reason="another's")
        return real(keys, args)

    monkeypatch.setattr(epochs, "BEGIN", lambda: frozen)
    begun = epochs.begin("a frozen process'")
    assert begun == epochs.read() == epochs.newest()


def test_whoever_stands_still_while_it_begins_an_epoch_keeps_nobody_else_from_it(bench, monkeypatch):
    monkeypatch.setattr(epochs, "LOCKED_MAX_MS", 100)
    held, go = threading.Event(), threading.Event()

    def stand_still():
        with epochs.one_at_a_time():
            held.set()
            assert go.wait(30)

    frozen, heard = in_thread(stand_still)
    assert held.wait(10)
    try:
        assert epochs.begin("Redis was emptied") == epochs.newest()
    finally:
        go.set()
        frozen.join(10)
    assert isinstance(heard[0], DatabaseError)


def test_prices_that_nobody_fires_on_do_not_fill_the_queue(bench, monkeypatch):
    monkeypatch.setattr(dispatch, "LONG", 5)
    bench.accept(bench.limit("150"))
    before = bench.messages("limit")
    for _ in range(20):
        bench.price("151")
        limits.price_changed(["SOL-USDC"])
    assert before < bench.messages("limit") <= 5
