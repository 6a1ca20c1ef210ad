"""Accepting orders: the row decides, everything after it may fail."""

import threading
from dataclasses import replace
from decimal import Decimal

import pytest
from amqp.exceptions import AccessRefused
from celery import current_app
from django.db import DatabaseError, connection
from kombu.exceptions import LimitExceeded, OperationalError

from engine.money import Token
from engine.orders import Order, OrderType, TimeInForce
from engine.quotes import Pair
from engine.triggers import Condition, Kind
from orders import models
from orders.flow import dispatch, intake, recovery, sweep
from orders.flow.intake import Accepted, Conflict
from orders.stores import history, live, order_rows, placing, rebuild_marks, terms
from routing import epochs
from routing.store import StoreError, redis


def test_an_accepted_order_is_a_row_an_event_and_a_wake_up(bench):
    asked = bench.order(client_order_id="mine")
    (accepted,) = intake.accept([asked])
    row = bench.row(accepted.order_id)
    assert (row.pair, row.amount_in, row.slippage_bps) == ("SOL-USDC", 1_500_000_000, 50)
    assert (row.client_order_id, row.status, row.created_at) == ("mine", "pending", accepted.created_at)
    (event,) = bench.events(accepted.order_id)
    assert (event["seq"], event["status"], event["attempt"]) == (1, "pending", 0)
    assert event["amountIn"] == "1.5"
    assert bench.messages("order") == 1


def test_a_fingerprint_is_the_one_that_earlier_versions_stored():
    pair = Pair(Token("SOL", "So1", 9), Token("USDC", "Us", 6), Decimal("0.01"))
    limit = Order("a", OrderType.LIMIT, pair, 5, 50, limit_price=Decimal("160"), expires_at=1_800_000_000_000)
    limit = replace(limit, time_in_force=TimeInForce.GTD)
    conditions = (Condition(Kind.VOLUME, 500, 60_000), Condition(Kind.LAUNCH))
    sniper = Order("a", OrderType.SNIPER, pair, 5, 50, max_price=Decimal("0.1"), trigger=conditions, allow_unknown=True)
    known = [intake.NewOrder(order).fingerprint[:16] for order in (limit, sniper)]
    assert known == ["a9d15301ebf3f76c", "f2b6af7a2963ada8"]


def test_a_batch_of_orders_is_one_statement_and_one_wake_up(bench, monkeypatch):
    statements = []

    def fetch(sql, *parameters, real=order_rows.fetch):
        statements.append(sql)
        return real(sql, *parameters)

    monkeypatch.setattr(order_rows, "fetch", fetch)
    intake.accept([bench.order() for _ in range(50)])
    assert len(statements) == 1
    assert bench.messages("order") == 1
    assert models.Order.objects.count() == 50


def test_the_row_is_committed_before_anything_is_announced(bench, monkeypatch):
    seen = []

    def look(new):
        def from_elsewhere():
            seen.extend(models.Order.objects.values_list("pk", flat=True))
            connection.close()

        other = threading.Thread(target=from_elsewhere)
        other.start()
        other.join(10)

    monkeypatch.setattr(intake, "announce", look)
    (accepted,) = intake.accept([bench.order()])
    assert [str(pk) for pk in seen] == [accepted.order_id]


def test_repeats_and_conflicts_inside_one_batch_are_told_apart(bench):
    first, repeat, other = (bench.order(client_order_id="a") for _ in range(3))
    other = replace(other, order=replace(other.order, amount_in=7))
    alone = bench.order(client_order_id="b")
    answers = intake.place([first, repeat, other, alone])
    assert [type(answer) for answer in answers] == [Accepted, Accepted, Conflict, Accepted]
    assert answers[0].order_id == answers[1].order_id == answers[2].order_id == first.order.id
    assert [answers[0].repeat, answers[1].repeat, answers[3].repeat] == [False, True, False]
    assert models.Order.objects.count() == 2
    assert bench.statuses(repeat.order.id) == []


def test_a_later_repeat_is_answered_with_the_order_as_it_stands(bench):
    bench.quote_all()
    first = intake.accept([bench.order(client_order_id="a")])[0]
    bench.run([first.order_id])
    bench.archive()
    again = intake.accept([bench.order(client_order_id="a")])[0]
    assert again == Accepted(first.order_id, "confirmed", first.created_at, repeat=True)


@pytest.mark.parametrize("change", [{"amount": 5}, {"slippage_bps": 51}])
def test_another_order_under_the_same_client_id_is_a_conflict(bench, change):
    first = intake.accept([bench.order(client_order_id="a")])[0]
    with pytest.raises(Conflict) as refused:
        intake.accept([bench.order(client_order_id="a", **change)])
    assert (refused.value.client_order_id, refused.value.order_id) == ("a", first.order_id)


def test_orders_without_a_client_id_never_repeat_each_other(bench):
    assert len({accepted.order_id for accepted in intake.accept([bench.order(), bench.order()])}) == 2


def test_fifty_racing_requests_with_one_client_id_make_one_order(bench):
    # As many threads as the pool has connections for them.
    gate, ids, faults = threading.Barrier(5, timeout=20), [], []

    def ask():
        try:
            for _ in range(10):
                gate.wait()
                ids.append(intake.accept([bench.order(client_order_id="a")])[0].order_id)
        except Exception as reason:
            faults.append(reason)
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(ids), len(set(ids))) == (50, 1), faults
    assert models.Order.objects.count() == 1


def test_with_redis_down_an_order_is_accepted_and_recovery_places_it_later(bench, monkeypatch):
    rebuild_marks.mark_rebuilt(epochs.current())

    def away(_):
        raise StoreError("connection refused")

    monkeypatch.setattr(placing, "place", away)
    (order_id,) = bench.place()
    monkeypatch.undo()
    assert bench.statuses(order_id) == []
    models.Order.objects.update(created_at="2026-01-01T00:00:00Z")
    recovery.recover()
    assert bench.statuses(order_id) == ["pending"]
    assert bench.messages("order") == 1


@pytest.mark.parametrize(
    "reason", [OperationalError("refused"), LimitExceeded(200), ConnectionError("reset"), AccessRefused("guest")]
)
def test_with_the_broker_down_an_order_is_accepted_and_the_sweep_finds_it(bench, monkeypatch, reason):
    def away(*_, **__):
        raise reason

    monkeypatch.setattr(current_app._get_current_object(), "send_task", away)
    (order_id,) = bench.place()
    monkeypatch.undo()
    assert bench.messages("order") == 0
    bench.pass_time(order_id, live.GRACE_MS + 100)
    assert sweep.sweep() == 1
    assert bench.messages("order") == 1


def test_a_long_list_of_orders_travels_in_messages_of_limited_size(bench):
    dispatch.send(dispatch.EXECUTE, [str(n) for n in range(dispatch.ORDERS_PER_TASK * 2 + 1)])
    assert bench.messages("order") == 3


def test_the_pending_event_made_at_intake_and_the_one_rebuilt_from_the_row_are_the_same(bench):
    (order_id,) = bench.place()
    assert history.of(bench.row(order_id)) == bench.events(order_id)


@pytest.mark.parametrize("reason", [StoreError("redis went away"), DatabaseError("postgres went away")], ids=str)
def test_an_order_whose_wake_up_fails_is_accepted_all_the_same(bench, monkeypatch, reason):
    def away(_):
        raise reason

    monkeypatch.setattr(intake, "wake", away)
    assert bench.statuses(bench.accept(bench.limit("150"))[0]) == ["pending"]


def test_placing_an_order_that_is_there_changes_nothing(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    row = bench.row(order_id)
    placement = intake.placement(terms.order_of(row), row.created_at, row.epoch)
    bench.run([order_id])
    feed = redis().xlen(live.FEED)
    assert placing.place([placement]) == set()
    assert len(bench.statuses(order_id)) == 5 and redis().xlen(live.FEED) == feed


def test_the_row_and_the_first_event_name_one_epoch_while_another_becomes_known(bench, monkeypatch):
    known = iter(range(1, 100))
    monkeypatch.setattr(order_rows.epochs, "recent", lambda: next(known))
    (order_id,) = bench.place()
    assert bench.events(order_id)[0]["epoch"] == bench.row(order_id).epoch
