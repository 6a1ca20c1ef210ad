"""The journal: every event of an account's orders is named, each order's in sequence, and none appears late."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from orders import models
from orders.flow import dbsync, recovery, waiting
from orders.models import JournalRow
from orders.operations import retention
from orders.stores import event_rows, journal, live
from orders.stores.rows import fetch
from tests.orders.bench import OWNER
from tests.orders.locks import in_thread, waits_for_a_lock
from tests.orders.losses import lose_redis
from tests.system import eventually


def pages(limit=3, after=0, owner=OWNER):
    """Return what a client gets that reads page after page."""
    told = []
    while True:
        events, after, more = journal.page(owner, after, limit)
        told += events
        if not more:
            return told, after


def by_order(events):
    found = {}
    for event in events:
        found.setdefault(event["orderId"], []).append(event["seq"])
    return found


def named(order_id):
    entries = journal.entries(OWNER, 0, 1000)
    return [(entry.first, entry.last) for entry in entries if entry.order_id == order_id]


def test_each_entry_has_a_position_of_its_own_however_many_share_a_row(bench, monkeypatch):
    monkeypatch.setattr(journal, "ROW_MAX", 3)
    ids = bench.place(8)
    journal.note_again(ids[:7])
    journal.note_again(ids[7:])
    assert JournalRow.objects.count() == 4
    every = journal.entries(OWNER, 0, 100)
    assert [entry.position for entry in every] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {entry.order_id for entry in every} == set(ids) and every[7].order_id == ids[7]
    assert [journal.entries(OWNER, after, 2) for after in (0, 1, 5, 7, 8)] == [
        every[0:2],
        every[1:3],
        every[5:7],
        every[7:],
        [],
    ]
    assert journal.bounds() == (0, 8)
    JournalRow.objects.filter(position=3).delete()
    assert journal.bounds() == (3, 8)


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_pages_tell_every_event_once_and_in_sequence_as_the_orders_own_histories_do(bench, limit):
    bench.quote_all()
    ids = bench.place(4, slippage_bps=5_000)
    bench.archive()
    bench.run(ids[:2])
    bench.archive()
    bench.run(ids[2:])
    bench.archive()
    events, cursor = pages(limit)
    assert by_order(events) == {order_id: [1, 2, 3, 4, 5] for order_id in ids}
    for order_id in ids:
        assert [event for event in events if event["orderId"] == order_id] == bench.events(order_id)
    assert pages(limit, cursor) == ([], cursor)


def test_an_entry_goes_on_where_the_one_before_ended(bench):
    bench.quote_all()
    (order_id,) = bench.place(slippage_bps=5_000)
    bench.archive()
    bench.run([order_id])
    bench.archive()
    assert named(order_id) == [(1, 1), (2, 5)]


def test_a_process_that_did_not_note_what_came_before_tells_the_order_from_its_first_event(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place(slippage_bps=5_000)
    bench.archive()
    _, cursor = pages()
    monkeypatch.setattr(dbsync, "journalist", journal.Journalist())
    bench.run([order_id])
    bench.archive()
    assert named(order_id) == [(1, 1), (1, None)]
    assert by_order(pages(after=cursor)[0]) == {order_id: [1, 2, 3, 4, 5]}


def test_a_hole_is_told_once_it_is_filled_and_nothing_comes_before_it(bench):
    """Two processes get an order's events, and the one with the later events is first."""
    bench.quote_all()
    (order_id,) = bench.place(slippage_bps=5_000)
    bench.run([order_id])
    lines = [
        f"{order_id} {event['seq']} {int(event['seq'] == 5)} {text}"
        for event, text in zip(bench.events(order_id), live.events([order_id])[order_id], strict=True)
    ]
    one, other = journal.Journalist(), journal.Journalist()
    told = []
    cursor = 0
    for journalist, seqs in ((one, [1]), (other, [5]), (one, [2, 3]), (other, [4])):
        rows = [event_rows.read(lines[seq - 1]) for seq in seqs]
        event_rows.store(rows)
        journalist.note(row.wire for row in rows)
        events, cursor = pages(after=cursor)
        told += [event["seq"] for event in events]
    assert list(dict.fromkeys(told)) == [1, 2, 3, 4, 5]


def test_events_that_cannot_be_noted_are_noted_when_the_round_is_repeated(bench, monkeypatch):
    bench.quote_all()
    (order_id,) = bench.place(slippage_bps=5_000)
    bench.run([order_id])

    def away(*_):
        raise DatabaseError("away")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "write", away)
        with pytest.raises(DatabaseError):
            bench.archive()
    assert pages()[0] == []
    bench.archive()
    assert by_order(pages()[0]) == {order_id: [1, 2, 3, 4, 5]}


def test_no_position_appears_below_one_that_was_read(bench):
    first, second = bench.place(2)
    with transaction.atomic():
        journal.note_again([first])
        other, _ = in_thread(lambda: journal.note_again([second]))
        eventually(waits_for_a_lock, 10, "the other waits")
        assert JournalRow.objects.count() == 1
    other.join()
    assert [entry.order_id for entry in journal.entries(OWNER, 0, 10)] == [first, second]


def test_each_account_hears_of_its_own_orders_and_nobody_of_those_without_one(bench):
    mine, theirs, nobodys = bench.place(3)
    models.Order.objects.filter(pk=theirs).update(owner=OWNER + 1)
    models.Order.objects.filter(pk=nobodys).update(owner=None)
    bench.archive()
    assert by_order(pages()[0]) == {mine: [1]}
    assert by_order(pages(owner=OWNER + 1)[0]) == {theirs: [1]}
    assert JournalRow.objects.count() == 2


def test_an_end_that_dbsync_never_heard_of_is_told_after_redis_was_lost(bench):
    (order_id,) = bench.accept(bench.limit("900"))
    bench.archive()
    _, cursor = pages()
    waiting.cancel(order_id)
    lose_redis(bench)
    recovery.recover()
    events, _ = pages(after=cursor)
    assert [event["status"] for event in events] == ["pending", "cancelled"]


def test_an_amendment_that_dbsync_never_heard_of_is_told_after_redis_was_lost(bench):
    (order_id,) = bench.accept(bench.limit("900"))
    bench.archive()
    _, cursor = pages()
    waiting.amend(order_id, 1, {"amount_in": 1_000_000_000})
    lose_redis(bench)
    recovery.recover()
    assert [event["kind"] for event in pages(after=cursor)[0]] == ["pending", "amended"]


def test_events_of_archived_orders_are_told_too(bench):
    bench.quote_all()
    ids = bench.place(3, slippage_bps=5_000)
    bench.run(ids)
    bench.archive()
    before, _ = pages()
    retention.take([UUID(order_id) for order_id in ids[:2]])
    after, _ = pages()
    assert by_order(after) == by_order(before) == {order_id: [1, 2, 3, 4, 5] for order_id in ids}


def test_entries_go_with_the_orders_of_their_time_and_the_newest_stays(bench, settings):
    settings.RETENTION_DAYS = 30
    ids = bench.place(3)
    for order_id in ids:
        journal.note_again([order_id])
    positions = list(JournalRow.objects.order_by("position").values_list("position", flat=True))
    assert journal.forget(30) == 0
    JournalRow.objects.filter(position=positions[0]).update(at=timezone.now() - timedelta(days=31))
    assert journal.forget(30) == 1
    assert journal.bounds() == (positions[1] - 1, positions[2])
    JournalRow.objects.update(at=timezone.now() - timedelta(days=31))
    assert journal.forget(30) == 1
    assert journal.bounds() == (positions[2] - 1, positions[2])


def test_an_accounts_entries_are_found_by_index(bench):
    fetch(
        "INSERT INTO orders_journalrow (position, owner_id, order_ids, firsts, lasts, epochs)"
        " SELECT n, mod(n, 50), array[gen_random_uuid()], array[1], array[1], array[1]"
        " FROM generate_series(1, 20000) n RETURNING 1"
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE orders_journalrow")
        cursor.execute(
            "EXPLAIN SELECT * FROM orders_journalrow WHERE owner_id = 7 AND position > 9000 ORDER BY position LIMIT 200"
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "journal_of_owner" in plan and "Sort" not in plan, plan
