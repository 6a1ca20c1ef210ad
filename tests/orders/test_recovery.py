"""Rebuilding Redis from Postgres."""

import threading

import pytest
from django.db import DatabaseError, connection

from engine.lifecycle import AttemptState
from orders import models
from orders.flow import completion, dbsync, duties, execution, intake, recovery, restoring, settlement, sweep
from orders.models import OrderEvent
from orders.stores import attempts, claims, event_codec, event_rows, history, live, placing, rebuild_marks
from routing import epochs
from routing import models as routing_models
from routing.catalogue import catalogue
from routing.store import StoreError, redis
from tests.forged import forged
from tests.orders.bench import STAGES
from tests.orders.feed import feed
from tests.orders.losses import hints, lose_redis
from tests.orders.test_sweep import refuse
from tests.system import eventually


def finish(bench, order_ids):
    """Do what the order worker does with the wake-ups and its pulse until nothing moves."""
    for _ in range(5):
        for order_id in order_ids:
            if redis().exists(live.key(order_id)):
                bench.pass_time(order_id, 120_000)
        models.Attempt.objects.filter(state__in=attempts.OPEN).update(sent_at="2000-01-01T00:00:00Z")
        sweep.sweep()
        bench.carry(hints())
        settlement.audit()
        while settlement.look():
            pass
    bench.archive()


def ends_well(bench, order_id, status="confirmed"):
    """Check that an order is finished, told without gaps, and settled at most once."""
    row = bench.row(order_id)
    assert row.status == status
    seqs = list(OrderEvent.objects.filter(order_id=order_id).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, row.seq + 1))
    landed = models.Attempt.objects.filter(order_id=order_id, state=AttemptState.LANDED).count()
    assert landed == (1 if status == "confirmed" else 0)
    assert OrderEvent.objects.filter(order_id=order_id, status=status).count() == 1


def accepted_only(bench, monkeypatch):
    monkeypatch.setattr(intake, "announce", lambda new: None)
    return bench.place()


def still_pending(bench, monkeypatch):
    return bench.place()


def in_hand(bench, monkeypatch):
    ids = bench.place()
    claims.claim(ids)
    return ids


def interrupt(monkeypatch, module, name):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, die)


def building_without_attempt(bench, monkeypatch):
    ids = bench.place()
    interrupt(monkeypatch, attempts, "prepare")
    with pytest.raises(KeyboardInterrupt):
        bench.carry(ids)
    return ids


def building_with_an_attempt_never_sent(bench, monkeypatch):
    ids = bench.place()
    interrupt(monkeypatch, settlement, "broadcast")
    with pytest.raises(KeyboardInterrupt):
        bench.carry(ids)
    return ids


def building_with_an_attempt_sent(bench, monkeypatch):
    ids = bench.place()
    interrupt(monkeypatch, execution, "announce")
    with pytest.raises(KeyboardInterrupt):
        bench.carry(ids)
    return ids


def submitted(bench, monkeypatch):
    ids = bench.place()
    bench.carry(ids)
    return ids


def submitted_and_landed(bench, monkeypatch):
    ids = bench.place()
    bench.carry(ids)
    interrupt(monkeypatch, settlement, "conclude")
    with pytest.raises(KeyboardInterrupt):
        settlement.look()
    assert models.Attempt.objects.get(order_id=ids[0]).state == AttemptState.LANDED
    return ids


def submitted_and_expired(bench, monkeypatch):
    ids = bench.place()
    monkeypatch.setattr(settlement, "deliver", lambda raws: True)
    bench.carry(ids)
    models.Attempt.objects.update(sent_at="2000-01-01T00:00:00Z", last_valid_height=1)
    monkeypatch.setattr(settlement, "conclude", lambda settled: None)
    settlement.audit()
    assert models.Attempt.objects.get(order_id=ids[0]).state == AttemptState.EXPIRED
    return ids


def waiting_for_another_try(bench, monkeypatch):
    ids = bench.place()
    monkeypatch.setattr(settlement, "deliver", lambda raws: True)
    bench.carry(ids)
    models.Attempt.objects.update(sent_at="2000-01-01T00:00:00Z", last_valid_height=1)
    settlement.audit()
    assert bench.statuses(ids[0])[-1] == "routing"
    return ids


def confirmed_but_not_archived(bench, monkeypatch):
    ids = bench.place()
    bench.run(ids)
    assert bench.statuses(ids[0]) == STAGES
    assert not OrderEvent.objects.filter(status="confirmed").exists()
    return ids


def confirmed_and_archived(bench, monkeypatch):
    ids = bench.place()
    bench.run(ids)
    bench.archive()
    return ids


LIVES = [
    accepted_only,
    still_pending,
    in_hand,
    building_without_attempt,
    building_with_an_attempt_never_sent,
    building_with_an_attempt_sent,
    submitted,
    submitted_and_landed,
    submitted_and_expired,
    waiting_for_another_try,
    confirmed_but_not_archived,
    confirmed_and_archived,
]


@pytest.mark.parametrize("archived", [False, True], ids=["archive behind", "archive up to date"])
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_an_order_whose_redis_was_emptied_comes_to_its_end_exactly_once(bench, monkeypatch, life, archived):
    bench.quote_all()
    ids = life(bench, monkeypatch)
    monkeypatch.undo()
    if archived:
        bench.archive()
    lose_redis(bench)
    recovery.recover()
    finish(bench, ids)
    ends_well(bench, ids[0])


def test_a_rejected_attempt_is_not_forgotten_with_redis_and_another_is_made(bench, monkeypatch, settings):
    settings.MOCK_REJECT_RATE = 1.0
    settings.MAX_ATTEMPTS = 2
    bench.quote_all()
    ids = bench.place()
    bench.carry(ids)
    interrupt(monkeypatch, settlement, "conclude")
    with pytest.raises(KeyboardInterrupt):
        settlement.look()
    monkeypatch.undo()
    lose_redis(bench)
    recovery.recover()
    finish(bench, ids)
    ends_well(bench, ids[0], "failed")
    numbers = models.Attempt.objects.filter(order_id=ids[0]).order_by("pk").values_list("number", "state")
    assert list(numbers) == [(1, "rejected"), (2, "rejected")]


def test_an_attempt_that_never_left_because_redis_was_emptied_uses_up_no_try(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place()
    real = execution.announce

    def emptied_meanwhile(prepared):
        lose_redis(bench)
        return real(prepared)

    monkeypatch.setattr(execution, "announce", emptied_meanwhile)
    bench.carry([order_id])
    monkeypatch.undo()
    assert models.Attempt.objects.get(order_id=order_id).state == AttemptState.WITHDRAWN
    recovery.recover()
    finish(bench, [order_id])
    ends_well(bench, order_id)
    assert models.Attempt.objects.get(state=AttemptState.LANDED).tries == 1


def test_events_an_attempt_remembers_come_back_word_for_word(bench):
    bench.quote_all()
    ids = bench.place()
    bench.carry(ids)
    before = bench.events(ids[0])
    lose_redis(bench)
    recovery.recover()
    after = bench.events(ids[0])
    assert after == before


def test_archived_events_come_back_word_for_word(bench):
    bench.quote_all()
    ids = bench.place(5)
    bench.carry(ids)
    before = [bench.events(order_id) for order_id in ids]
    bench.archive()
    lose_redis(bench)
    recovery.recover()
    assert [bench.events(order_id) for order_id in ids] == before


def test_an_order_that_postgres_holds_as_finished_is_never_rebuilt(bench):
    bench.quote_all()
    ids = bench.place()
    bench.run(ids)
    bench.archive()
    with forged():
        OrderEvent.objects.filter(seq__gt=1).delete()
    models.Attempt.objects.all().delete()
    redis().flushall()
    assert restoring.restore(ids, "a test") == set()
    assert live.statuses(ids) == {}


def test_one_order_that_cannot_be_rebuilt_does_not_stop_the_others(bench):
    ids = bench.place(3)
    models.Order.objects.filter(pk=ids[1]).update(pair="DOGE-USDC")
    redis().flushall()
    recovery.recover()
    assert set(live.statuses(ids)) == {ids[0], ids[2]}


def test_rebuilding_leaves_orders_alone_that_are_there(bench):
    bench.quote_all()
    ids = bench.place(2)
    bench.carry(ids[:1])
    before = [bench.events(order_id) for order_id in ids]
    feed = redis().xlen(live.FEED)
    redis().delete("order")
    assert restoring.restore(ids, "a test") == set()
    assert [bench.events(order_id) for order_id in ids] == before
    assert (redis().xlen(live.FEED), bench.messages("order")) == (feed, 0)


def test_many_workers_that_rebuild_at_once_rebuild_once(bench):
    bench.quote_all()
    ids = bench.place(20)
    lose_redis(bench)
    faults = []

    def recover():
        try:
            recovery.recover()
        except Exception as reason:
            faults.append(reason)
        finally:
            connection.close()

    threads = [threading.Thread(target=recover) for _ in range(4)]
    for thread in threads:
        thread.start()
    (late,) = bench.place()
    for thread in threads:
        thread.join(20)
    assert faults == []
    assert sorted(hints()) == sorted([*ids, late])
    bench.run([*ids, late])
    assert all(bench.statuses(order_id) == STAGES for order_id in [*ids, late])


def test_recovery_goes_through_all_pages(bench, monkeypatch):
    monkeypatch.setattr(recovery, "PAGE", 2)
    # Rows of one statement are created at the same moment; each page must begin where the last one ended.
    ids = bench.place(5) + bench.place(2)
    redis().flushall()
    recovery.recover()
    assert sorted(hints()) == sorted(ids)


def test_a_single_order_missing_from_redis_is_restored_once_it_is_old_enough(bench):
    rebuild_marks.mark_rebuilt(epochs.current())
    young, old = bench.place(2)
    models.Order.objects.filter(pk=old).update(created_at="2026-01-01T00:00:00Z")
    redis().delete(live.key(young), live.key(old))
    recovery.recover()
    assert set(live.statuses([young, old])) == {old}


def test_recovery_costs_three_questions_when_nothing_is_wrong(bench, django_assert_num_queries):
    rebuild_marks.mark_rebuilt(epochs.current())
    bench.place(3)
    models.Order.objects.update(created_at="2026-01-01T00:00:00Z")
    redis().delete("order")
    feed = redis().xlen(live.FEED)
    # And one past Django, about attempts.
    with django_assert_num_queries(2):
        recovery.recover()
    assert (redis().xlen(live.FEED), bench.messages("order"), bench.messages("dbsync")) == (feed, 0, 0)


def test_open_orders_are_found_without_walking_through_the_finished_ones(bench):
    bench.sql(
        """
        INSERT INTO orders_order (id, type, pair, amount_in, slippage_bps, fingerprint, status)
        SELECT gen_random_uuid(), 'market', 'SOL-USDC', 1, 50, '', 'confirmed' FROM generate_series(1, 3000)
        """
    )
    bench.sql("ANALYZE orders_order")
    (order_id,) = bench.place()
    found = models.Order.objects.filter(models.MOVING).order_by("created_at", "pk")[: recovery.PAGE]
    assert "orders_moving" in found.explain()
    assert list(recovery.moving(0)) == [[order_id]]


def test_finished_orders_that_the_feed_lost_are_archived_after_all(bench):
    rebuild_marks.mark_rebuilt(epochs.current())
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    redis().delete(live.FEED)
    models.Order.objects.update(created_at="2026-01-01T00:00:00Z")
    recovery.recover()
    bench.archive()
    ends_well(bench, order_id)


def test_finished_orders_whose_entries_still_wait_are_not_fed_again(bench):
    rebuild_marks.mark_rebuilt(epochs.current())
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    models.Order.objects.update(created_at="2026-01-01T00:00:00Z")
    feed = redis().xlen(live.FEED)
    recovery.recover()
    assert redis().xlen(live.FEED) == feed


def test_the_pulse_rebuilds_once_after_redis_was_emptied(bench):
    bench.place()
    redis().flushall()
    assert recovery.noticed()
    duties.notice_loss()
    eventually(lambda: not recovery.noticed() and not duties.rebuilding.locked(), 30, "the live state is rebuilt")
    assert len(hints()) == 1
    duties.notice_loss()
    assert not duties.rebuilding.locked()
    assert hints() == []


def test_while_one_process_rebuilds_others_leave_it_to_that_one(bench):
    (order_id,) = bench.place()
    redis().flushall()
    assert rebuild_marks.begin_rebuild()
    recovery.recover()
    assert recovery.noticed() and live.statuses([order_id]) == {}
    rebuild_marks.end_rebuild()
    recovery.recover()
    assert not recovery.noticed() and order_id in live.statuses([order_id])
    assert rebuild_marks.begin_rebuild()


def test_a_rebuild_that_failed_is_anothers_at_once(bench, monkeypatch):
    bench.place()
    redis().flushall()
    with monkeypatch.context() as broken:
        broken.setattr(recovery, "repair", refuse)
        with pytest.raises(DatabaseError):
            recovery.recover()
    recovery.recover()
    assert not recovery.noticed()


def test_recovery_leaves_the_loss_unnoticed_when_it_could_not_finish(bench, monkeypatch):
    bench.place()
    redis().flushall()

    def away(_):
        raise StoreError("away")

    monkeypatch.setattr(placing, "place", away)
    with pytest.raises(StoreError):
        recovery.recover()
    assert recovery.noticed()


def test_an_inactive_pairs_orders_are_rebuilt_too(bench):
    (order_id,) = bench.place()
    routing_models.Pair.objects.update(active=False)
    catalogue.forget()
    redis().flushall()
    recovery.recover()
    assert bench.statuses(order_id) == ["pending"]


def test_a_history_ends_where_a_gap_begins(bench):
    bench.quote_all()
    (order_id,) = bench.place(amount=10**18)
    bench.run([order_id])
    bench.archive()
    with forged():
        OrderEvent.objects.filter(seq=1).delete()
    assert [event["seq"] for event in history.of(bench.row(order_id))] == [1, 2]
    with forged():
        OrderEvent.objects.filter(seq=2).update(seq=3)
    assert [event["seq"] for event in history.of(bench.row(order_id))] == [1]
    assert dbsync.backlog() == 0


def feed_lines():
    return [line for _, fields in redis().xrange(live.FEED) for line in fields["b"].split("\n")]


@pytest.fixture
def told_in_part(bench):
    """An order whose feed was lost with Redis, but for its last event; DBSync had read nothing yet."""
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    assert bench.statuses(order_id) == STAGES
    lines = feed_lines()
    lose_redis(bench)
    (last,) = filter(dbsync.is_final, lines)
    return order_id, last


def test_an_end_that_dbsync_reads_after_the_rest_was_lost_has_all_its_event_rows(bench, told_in_part):
    order_id, last = told_in_part
    feed(last)
    bench.archive()
    ends_well(bench, order_id)


def test_the_first_event_stays_of_the_epoch_that_accepted_the_order(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    (first,) = history.of(bench.row(order_id))
    lose_redis(bench)
    recovery.recover()
    bench.run([order_id])
    told = [event_codec.load(text) for text in live.events([order_id])[order_id]]
    assert told[0] == first and {event["epoch"] for event in told[1:]} == {first["epoch"] + 1}
    # A DBSync that died has the first event in hand: the next one writes the others before it takes that over.
    event_rows.store([event_rows.read(line) for line in feed_lines() if line.split(" ")[1] != "1"])
    assert bench.row(order_id).status == "confirmed"
    assert history.of(bench.row(order_id))[0] == first
    assert completion.complete([order_id]) == []
    assert [row.epoch for row in OrderEvent.objects.filter(order_id=order_id, seq=1)] == [first["epoch"]]


def test_a_rebuild_completes_the_event_rows_of_what_has_ended(bench, told_in_part):
    order_id, last = told_in_part
    event_rows.store([event_rows.read(last)])
    assert OrderEvent.objects.filter(order_id=order_id, seq=1).count() == 0
    recovery.recover()
    ends_well(bench, order_id)
    assert completion.lacking([order_id]) == []
