"""What an attempt's commit makes durable, and what its updates cost."""

import json

import pytest
from django.db import connection, transaction

from engine.lifecycle import AttemptState
from orders import models
from orders.flow import execution, limits, recovery, settlement
from orders.operations import reconciliation
from orders.stores import attempts, event_rows, history, live
from orders.stores.attempts import Prepared
from routing.store import redis
from tests.factories import AttemptFactory, OrderEventFactory, OrderFactory
from tests.orders.bench import empty_redis

HOT = """
SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'orders_attempt'
"""


@pytest.fixture
def stopped(bench, monkeypatch):
    """Return a function that carries an order until right before a step, at which its worker dies."""

    def stop(order_id, place, step):
        def die(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as at_step:
            at_step.setattr(place, step, die)
            with pytest.raises(KeyboardInterrupt):
                bench.carry([order_id])

    return stop


def test_the_commit_of_an_attempt_makes_the_events_before_it_durable(bench, stopped):
    bench.quote_all()
    (order_id,) = bench.place()
    stopped(order_id, execution, "announce")
    assert models.Attempt.objects.get().state == AttemptState.PREPARED
    assert history.of(bench.row(order_id)) == bench.events(order_id)
    assert [event["status"] for event in bench.events(order_id)] == ["pending", "routing", "building"]


def test_a_sent_attempt_implies_its_orders_submitted_event_as_it_was_told(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place()
    monkeypatch.setattr(settlement, "deliver", lambda raws: True)
    bench.carry([order_id])
    assert history.of(bench.row(order_id)) == bench.events(order_id)
    assert bench.statuses(order_id)[-1] == "submitted"


def test_sending_and_landing_an_attempt_touches_no_index(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place()
    # On a page that earlier tests have filled, the next version of a row might find no room.
    bench.sql("TRUNCATE orders_attempt")
    with transaction.atomic():
        # What the session did before and has not reported yet is counted as well.
        before = bench.sql(HOT) or [(0, 0)]
        bench.run([order_id])
        assert bench.statuses(order_id)[-1] == "confirmed"
        (after,) = bench.sql(HOT)
        assert (after[0] - before[0][0], after[1] - before[0][1]) == (2, 2)


@pytest.mark.parametrize("state", ["withdrawn", "rejected", "expired"])
def test_an_attempt_that_came_to_nothing_makes_room_for_another_whoever_wrote_it(state, db):
    order = OrderFactory()
    AttemptFactory(order=order, state="sent")
    assert not attempts.insert([prepared(order)])
    # As the version before writes it.
    bench_sql("UPDATE orders_attempt SET state = %s", state)
    assert models.Attempt.objects.get().error_code == state
    assert attempts.insert([prepared(order)]) == {str(order.pk)}


def test_events_of_an_epoch_that_is_over_are_not_committed_behind_those_of_the_next(db):
    order = OrderFactory()
    OrderEventFactory(order=order, seq=1, epoch=1)
    OrderEventFactory(order=order, seq=2, epoch=2, status="routing")
    assert attempts.insert([prepared(order, told=[told(order, 2, 1), told(order, 3, 1)])])
    assert [(event.seq, event.epoch) for event in order.events.order_by("seq")] == [(1, 1), (2, 2)]


def test_events_of_a_later_epoch_take_the_place_of_those_that_were_lost(db):
    order = OrderFactory()
    OrderEventFactory(order=order, seq=1, epoch=1)
    OrderEventFactory(order=order, seq=2, epoch=1, status="routing")
    assert attempts.insert([prepared(order, told=[told(order, 2, 2), told(order, 3, 2)])])
    assert [(event.seq, event.epoch) for event in order.events.order_by("seq")] == [(1, 1), (2, 2), (3, 2)]


def test_dbsync_does_not_lock_the_event_rows_that_are_there(bench, stopped):
    bench.quote_all()
    (order_id,) = bench.place()
    stopped(order_id, execution, "announce")
    before = list(bench.sql("SELECT seq, xmax FROM orders_orderevent WHERE order_id = %s ORDER BY seq", order_id))
    bench.archive()
    after = list(bench.sql("SELECT seq, xmax FROM orders_orderevent WHERE order_id = %s ORDER BY seq", order_id))
    assert [seq for seq, _ in before] == [2, 3] and after == [(1, after[0][1]), *before]


def test_an_order_restored_from_its_attempt_alone_no_longer_rests_in_postgres(bench, monkeypatch):
    bench.price("155")
    (order_id,) = bench.accept(bench.limit("150"))
    limits.check()
    monkeypatch.setattr(settlement, "deliver", lambda raws: True)
    bench.carry([order_id])
    assert bench.statuses(order_id)[-1] == "submitted" and bench.row(order_id).status == "pending"
    empty_redis()
    recovery.recover()
    for page in recovery.waiting():
        recovery.repair(page)
    bench.archive()
    assert bench.row(order_id).status == "submitted"
    assert [signature for signature, _, _ in attempts.unsettled(0, 10)]


def test_a_row_that_says_an_order_rests_is_written_again_if_the_feed_lost_its_events(bench, monkeypatch):
    bench.price("155")
    (order_id,) = bench.accept(bench.limit("150"))
    limits.check()
    monkeypatch.setattr(settlement, "deliver", lambda raws: True)
    bench.carry([order_id])
    redis().xtrim(live.FEED, maxlen=0)
    bench.archive()
    assert bench.row(order_id).status == "pending" and not attempts.unsettled(0, 10)
    assert reconciliation.take()["behind"] == 1
    bench.archive()
    assert bench.row(order_id).status == "submitted" and attempts.unsettled(0, 10)
    assert reconciliation.take()["behind"] == 0


def test_the_audit_finds_open_attempts_by_the_orders_that_move(db):
    with connection.cursor() as cursor:
        event_rows.pin_plan()
        cursor.execute(f"EXPLAIN {attempts.OF_MOVING_ORDERS}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "orders_moving" in plan and "one_open_or_landed_attempt" in plan


def bench_sql(statement, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def told(order, seq, epoch):
    """Write an event of an order."""
    event = {
        "orderId": str(order.pk),
        "epoch": epoch,
        "seq": seq,
        "status": "routing",
        "attempt": 1,
        "venue": "RAYDIUM",
    }
    return json.dumps(event | {"at": "2026-01-01T00:00:00.000Z"})


def prepared(order, told=()):
    """Make an attempt of an order on its terms."""
    return Prepared(
        str(order.pk), 2, "METEORA", f"second of {order.pk}", b"", last_valid_height=1_000, expected_out=2,
        minimum_out=1, fee_bps=20, amount_in=1, limit_price=None, terms_seq=1, epoch=1, seq=4, at=0, told=tuple(told),
    )  # fmt: skip


def test_an_order_submitted_by_an_earlier_version_goes_on_though_its_transaction_has_expired_meanwhile(
    bench, monkeypatch
):
    bench.quote_all()
    (order_id,) = bench.place()
    with monkeypatch.context() as lost:
        lost.setattr(settlement, "deliver", lambda raws: True)
        bench.carry([order_id])
    # That version's live state does not name the transaction.
    redis().hdel(live.key(order_id), "tx")
    models.Attempt.objects.update(sent_at="2000-01-01T00:00:00Z", last_valid_height=1)
    settlement.audit()
    assert models.Attempt.objects.get().state == "expired" and bench.statuses(order_id)[-1] == "submitted"
    settlement.revisit([order_id])
    assert bench.statuses(order_id)[-1] == "routing"
