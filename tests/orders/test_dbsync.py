"""DBSync: from the feed in Redis to rows in Postgres."""

import subprocess
import sys
import threading

import msgspec
import pytest
from django.db import OperationalError, connection, transaction

from config.env import ROOT
from engine.lifecycle import Status
from orders import models
from orders.flow import dbsync, intake, limits, waiting
from orders.models import OrderEvent, SetAside
from orders.stores import event_rows, history, live
from routing import group
from routing.store import redis

STAGES = ["pending", "routing", "building", "submitted", "confirmed"]


def feed(*lines):
    """Put one entry into the feed."""
    redis().xadd(live.FEED, {"b": "\n".join(lines)})


def line(order_id, seq, status="routing", final=0, at="2026-11-22T12:00:00.123Z", **facts):
    """Spell one line of the feed."""
    event = {"orderId": order_id, "seq": seq, "status": status, "at": at, "attempt": 1, **facts}
    return f"{order_id} {seq} {final} {msgspec.json.encode(event).decode()}"


def archived(order_id):
    return list(OrderEvent.objects.filter(order_id=order_id).order_by("seq").values_list("seq", "status"))


def pending():
    return redis().xpending(live.FEED, dbsync.GROUP)["pending"]


def read_by_another(count=10):
    """Let a reader take entries and die."""
    dbsync.group.ensure()
    redis().xreadgroup(dbsync.GROUP, "another", {live.FEED: ">"}, count=count)


@pytest.fixture
def unannounced(monkeypatch):
    """Orders without live state, so that the feed holds only what the test puts there."""
    monkeypatch.setattr(intake, "announce", lambda new: None)


def test_five_events_and_the_order_row_reach_postgres_as_the_client_saw_them(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    told = bench.events(order_id)
    bench.archive()
    assert archived(order_id) == list(enumerate(STAGES, 1))
    kept = OrderEvent.objects.get(order_id=order_id, seq=5)
    assert kept.facts == history.facts_of(told[4]) and kept.epoch == told[4]["epoch"] > 0
    row = bench.row(order_id)
    assert (row.status, row.seq, row.attempt) == ("confirmed", 5, 1)
    assert (row.venue, row.tx_hash, row.result) == (told[4]["venue"], told[4]["txHash"], kept.facts)


def test_a_failed_order_is_archived_with_its_reason(bench):
    bench.quote_all()
    (order_id,) = bench.place(amount=10**18)
    bench.run([order_id])
    bench.archive()
    row = bench.row(order_id)
    assert row.status == "failed" and row.result["code"] == "price_impact"
    assert archived(order_id)[-1][1] == "failed"


def test_an_order_that_fails_keeps_the_venue_and_signature_of_its_last_try(bench, settings):
    settings.MOCK_REJECT_RATE = 1.0
    settings.MAX_ATTEMPTS = 1
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    bench.archive()
    row, attempt = bench.row(order_id), models.Attempt.objects.get(order_id=order_id)
    assert row.status == "failed"
    assert (row.venue, row.tx_hash) == (attempt.venue, attempt.signature)


def test_events_that_arrive_in_several_rounds_bring_the_row_forward_each_time(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.archive()
    assert bench.row(order_id).seq == 1
    bench.carry([order_id])
    bench.archive()
    assert (bench.row(order_id).status, bench.row(order_id).seq) == ("submitted", 4)
    bench.run([order_id])
    bench.archive()
    assert (bench.row(order_id).status, bench.row(order_id).seq) == ("confirmed", 5)


def test_a_late_event_is_kept_and_takes_the_row_no_step_back(bench, unannounced):
    (order_id,) = bench.place()
    feed(line(order_id, 3, "building"))
    bench.archive()
    feed(line(order_id, 2, "routing"))
    bench.archive()
    assert archived(order_id) == [(2, "routing"), (3, "building")]
    assert (bench.row(order_id).status, bench.row(order_id).seq) == ("building", 3)


def test_events_of_one_round_in_any_order_leave_the_row_at_the_last(bench, unannounced):
    (order_id,) = bench.place()
    feed(line(order_id, 10, "confirmed", 1), line(order_id, 9, "submitted"), line(order_id, 2, "routing"))
    bench.archive()
    assert (bench.row(order_id).status, bench.row(order_id).seq) == ("confirmed", 10)


def test_an_event_that_comes_twice_is_kept_once_as_it_first_was(bench, unannounced):
    (order_id,) = bench.place()
    feed(line(order_id, 2, venue="RAYDIUM"), line(order_id, 2, venue="RAYDIUM"))
    bench.archive()
    feed(line(order_id, 2, venue="METEORA"))
    bench.archive()
    (kept,) = OrderEvent.objects.filter(order_id=order_id)
    assert kept.facts == {"venue": "RAYDIUM"}
    assert SetAside.objects.count() == 0


def later(count):
    """Return epochs after the one in which orders are placed."""
    return [100_000 + number for number in range(count)]


def test_events_of_a_later_epoch_take_the_place_of_those_that_were_lost(bench, unannounced):
    (order_id,) = bench.place()
    first, second = later(2)
    feed(*(line(order_id, seq, "routing", epoch=first) for seq in range(2, 8)))
    bench.archive()
    feed(line(order_id, 4, "building", epoch=second), line(order_id, 5, "confirmed", 1, epoch=second))
    bench.archive()
    assert archived(order_id) == [(2, "routing"), (3, "routing"), (4, "building"), (5, "confirmed")]
    row = bench.row(order_id)
    assert (row.status, row.seq, row.epoch) == ("confirmed", 5, second)


@pytest.mark.parametrize("together", [True, False])
def test_events_that_were_lost_and_come_late_change_nothing(bench, unannounced, together):
    (order_id,) = bench.place()
    first, second = later(2)
    lost = [line(order_id, seq, "routing", epoch=first) for seq in range(2, 6)]
    if not together:
        feed(line(order_id, 2, "building", epoch=second))
        bench.archive()
        feed(*lost)
    else:
        feed(*lost, line(order_id, 2, "building", epoch=second))
    bench.archive()
    assert archived(order_id) == [(2, "building")]
    row = bench.row(order_id)
    assert (row.status, row.seq, row.epoch) == ("building", 2, second)


def test_what_a_live_order_tells_behind_its_end_is_not_written_and_the_order_restored(bench):
    (order_id,) = bench.accept(bench.limit("150"))
    waiting.cancel(order_id)
    bench.archive()
    redis().hset(live.key(order_id), mapping={"status": "pending", "seq": 1})
    redis().xdel(f"{live.key(order_id)}:events", "2-0")
    bench.price("151")
    limits.fire("SOL-USDC")
    execution_of_an_ended_order = line(order_id, 3, "routing", epoch=later(1)[0])
    redis().hset(live.key(order_id), mapping={"status": "routing", "seq": 3})
    redis().xadd(f"{live.key(order_id)}:events", {"e": execution_of_an_ended_order.split(" ", 3)[3]}, id="3-0")
    feed(execution_of_an_ended_order)
    bench.archive()
    assert archived(order_id) == [(1, "pending"), (2, "cancelled")]
    assert bench.statuses(order_id) == ["pending", "cancelled"]


def test_an_event_of_the_version_before_counts_as_of_its_orders_epoch(bench, unannounced):
    (order_id,) = bench.place()
    models.Order.objects.update(epoch=7)
    feed(line(order_id, 2, "routing"))
    bench.archive()
    row = bench.row(order_id)
    assert (row.status, row.seq, row.epoch) == ("routing", 2, 7)


def test_an_entry_whose_reader_died_is_taken_over(bench, monkeypatch):
    monkeypatch.setattr(group, "TAKE_OVER_MS", 0)
    (order_id,) = bench.place()
    read_by_another()
    bench.archive()
    assert archived(order_id) == [(1, "pending")]
    assert pending() == 0


def test_all_that_a_dead_reader_left_is_taken_over_at_once(bench, monkeypatch):
    monkeypatch.setattr(group, "TAKE_OVER_MS", 0)
    monkeypatch.setattr(group, "ENTRIES", 2)
    ids = [bench.place()[0] for _ in range(5)]
    read_by_another()
    bench.archive()
    assert OrderEvent.objects.filter(order_id__in=ids).count() == 5
    assert pending() == 0


def test_an_entry_in_another_readers_hands_is_left_to_it(bench):
    bench.place()
    read_by_another()
    bench.archive()
    assert OrderEvent.objects.count() == 0
    assert pending() == 1


BAD = {
    "not a line of the feed": "nonsense",
    "not JSON": "0192f0c0-0000-7000-8000-000000000000 1 0 {",
    "a missing field": '0192f0c0-0000-7000-8000-000000000000 1 0 {"orderId":"0192f0c0-0000-7000-8000-000000000000"}',
    "a status nobody knows": line("0192f0c0-0000-7000-8000-000000000000", 1, "asleep"),
    "nested without end": line("0192f0c0-0000-7000-8000-000000000000", 1)[:-1]
    + ',"x":'
    + "[" * 5000
    + "]" * 5000
    + "}",
    "no such order": line("0192f0c0-0000-7000-8000-000000000000", 1),
}


@pytest.mark.parametrize("record", BAD.values(), ids=BAD.keys())
def test_a_bad_record_is_set_aside_with_its_reason_and_stops_nothing(bench, record):
    before = bench.place()[0]
    feed(record)
    after = bench.place()[0]
    bench.archive()
    assert archived(before) == archived(after) == [(1, "pending")]
    (aside,) = SetAside.objects.all()
    assert aside.record == record
    assert aside.reason
    assert pending() == 0
    assert OrderEvent.objects.count() == 2


REFUSED = {
    "a seq past integer": {"seq": 2**40},
    "a NUL character": {"seq": 2, "note": "a\0b"},
    "a venue too long": {"seq": 2, "venue": "X" * 17},
}


@pytest.mark.parametrize("event", REFUSED.values(), ids=REFUSED.keys())
def test_a_value_postgres_refuses_is_found_among_good_ones_and_set_aside(bench, unannounced, event):
    ids = bench.place(7)
    lines = [line(order_id, 2) for order_id in ids]
    lines.insert(3, line(ids[3], **event))
    del lines[4]
    feed(*lines)
    bench.archive()
    assert [archived(i) for i in ids] == [[(2, "routing")]] * 3 + [[]] + [[(2, "routing")]] * 3
    (aside,) = SetAside.objects.all()
    assert aside.record == lines[3] and aside.reason
    assert bench.row(ids[3]).seq == 1


def test_a_backslash_before_u0000_is_no_nul_character(bench, unannounced):
    (order_id,) = bench.place()
    feed(line(order_id, 2, note="\\u0000"))
    bench.archive()
    assert OrderEvent.objects.get(order_id=order_id).facts == {"note": "\\u0000"}


def test_bytes_that_are_no_text_are_set_aside(bench):
    redis().execute_command("XADD", live.FEED, "*", "b", b"\xff\xfe")
    (order_id,) = bench.place()
    bench.archive()
    assert archived(order_id) == [(1, "pending")]
    assert SetAside.objects.get().record == "\\xff\\xfe"


def test_a_record_fed_again_is_set_aside_once(bench):
    feed("nonsense")
    bench.archive()
    feed("nonsense", "nonsense")
    bench.archive()
    assert SetAside.objects.count() == 1


def test_a_finished_order_leaves_redis_only_after_it_was_archived(bench, settings):
    settings.ORDER_LIVE_TTL_S = 100
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    keys = [live.key(order_id), f"{live.key(order_id)}:events"]
    assert [redis().ttl(key) for key in keys] == [-1, -1]
    bench.archive()
    assert all(0 < redis().ttl(key) <= 100 for key in keys)


def test_an_unfinished_order_stays_in_redis_when_its_events_are_archived(bench):
    (order_id,) = bench.place()
    bench.archive()
    assert redis().ttl(live.key(order_id)) == -1


def test_an_order_whose_last_event_was_refused_stays_in_redis(bench, unannounced):
    (order_id,) = bench.place()
    redis().hset(live.key(order_id), "status", "confirmed")
    feed(line(order_id, 2, "confirmed", 1, venue="X" * 17))
    bench.archive()
    assert SetAside.objects.count() == 1
    assert redis().ttl(live.key(order_id)) == -1


def test_emptying_redis_between_drains_harms_none_of_them(bench):
    bench.place()
    bench.archive()
    redis().flushall()
    (order_id,) = bench.place()
    bench.archive()
    assert archived(order_id) == [(1, "pending")]


def test_emptying_redis_in_the_middle_of_a_drain_does_not_end_it(bench, monkeypatch):
    bench.place()
    later = []

    def write_and_lose(lines, write=dbsync.write):
        write(lines)
        if not later:
            redis().flushall()
            later.extend(bench.place())

    monkeypatch.setattr(dbsync, "write", write_and_lose)
    bench.archive()
    assert archived(later[0]) == [(1, "pending")]


def test_when_postgres_fails_in_mid_round_nothing_is_acknowledged_and_the_next_drain_writes_all(bench, monkeypatch):
    monkeypatch.setattr(dbsync, "EVENTS", 1)
    ids = bench.place(3)
    stored = []

    def store(rows, real=event_rows.store):
        if stored:
            raise OperationalError("the server closed the connection")
        stored.append(rows)
        return real(rows)

    monkeypatch.setattr(event_rows, "store", store)
    with pytest.raises(OperationalError):
        bench.archive()
    assert OrderEvent.objects.count() == 1
    assert pending() == 1
    monkeypatch.undo()
    bench.archive()
    assert OrderEvent.objects.filter(order_id__in=ids).count() == 3
    assert pending() == 0


def test_many_nudges_wake_dbsync_once_until_it_has_begun(bench):
    for _ in range(5):
        dbsync.nudge()
    assert bench.messages("dbsync") == 1
    bench.archive()
    dbsync.nudge()
    assert bench.messages("dbsync") == 2


def test_a_drain_notices_what_comes_while_it_runs(bench, monkeypatch):
    bench.place()
    later = []

    def write_and_place(lines, write=dbsync.write):
        write(lines)
        if not later:
            later.extend(bench.place())

    monkeypatch.setattr(dbsync, "write", write_and_place)
    bench.archive()
    assert archived(later[0]) == [(1, "pending")]


def test_a_drain_asked_for_at_the_last_moment_of_another_is_not_lost(bench, monkeypatch):
    def ends_late(start, every_s, rounds=dbsync.rounds):
        yield from rounds(start, every_s)
        # The feed was found empty; now an order comes, and the drain it asks for finds this one still at work.
        if start == ">" and not bench.ids:
            bench.place()
            other = threading.Thread(target=dbsync.drain)
            other.start()
            other.join(5)

    monkeypatch.setattr(dbsync, "rounds", ends_late)
    dbsync.drain()
    assert archived(bench.ids[0]) == [(1, "pending")]


def test_an_order_that_has_not_ended_waits_one_round_and_its_entry_stays_unacknowledged(bench):
    (first,) = bench.place()
    held = dbsync.write_finished(dbsync.Round(), next(dbsync.rounds(">", 0)))
    assert archived(first) == [] and pending() == 1
    (second,) = bench.place()
    held = dbsync.write_finished(held, next(dbsync.rounds(">", 0)))
    assert archived(first) == [(1, "pending")] and archived(second) == [] and pending() == 1
    dbsync.write_round(held)
    assert archived(second) == [(1, "pending")] and pending() == 0


def test_an_order_that_ends_within_a_round_is_written_at_once_and_its_row_once(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    held = dbsync.write_finished(dbsync.Round(), next(dbsync.rounds(">", 0)))
    bench.run([order_id])
    with transaction.atomic():
        assert dbsync.write_finished(held, next(dbsync.rounds(">", 0))) == dbsync.Round((), [])
        rows = bench.sql("SELECT n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'orders_order'")
    assert rows == [(1,)] and bench.row(order_id).status == "confirmed" and pending() == 0


def test_a_drain_leaves_nothing_held_back(bench):
    bench.quote_all()
    ids = bench.place(3)
    bench.carry(ids)
    dbsync.drain(every_s=0.01)
    assert all(bench.row(order_id).status == "submitted" for order_id in ids) and pending() == 0


def test_two_drains_at_once_write_every_event_once(bench):
    ids = [bench.place()[0] for _ in range(30)]

    def drain():
        try:
            dbsync.drain()
        finally:
            connection.close()

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert OrderEvent.objects.filter(order_id__in=ids).count() == 30
    assert pending() == 0


def test_what_is_written_leaves_the_feed_once_servers_have_had_time_to_read_it(bench, monkeypatch):
    monkeypatch.setattr(dbsync, "TRIM_EVERY_S", 0)
    for _ in range(5):
        bench.place()
    bench.archive()
    assert redis().xlen(live.FEED) == 5
    monkeypatch.setattr(dbsync, "KEEP_MS", -1_000)
    bench.place()
    bench.archive()
    assert redis().xlen(live.FEED) == 1
    assert dbsync.backlog() == 0
    assert OrderEvent.objects.count() == 6


def test_what_another_reader_has_not_written_yet_stays_in_the_feed(bench, monkeypatch):
    monkeypatch.setattr(dbsync, "TRIM_EVERY_S", 0)
    monkeypatch.setattr(dbsync, "KEEP_MS", -1_000)
    ids = [bench.place()[0] for _ in range(3)]
    read_by_another(count=2)
    bench.archive()
    assert redis().xlen(live.FEED) == 3
    monkeypatch.setattr(group, "TAKE_OVER_MS", 0)
    bench.archive()
    assert OrderEvent.objects.filter(order_id__in=ids).count() == 3
    assert redis().xlen(live.FEED) == 1


def test_what_was_cut_off_the_feed_unread_is_fed_again_once_its_order_has_ended(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    dbsync.group.ensure()
    bench.run([order_id])
    assert redis().xlen(live.FEED) > 1
    redis().xtrim(live.FEED, maxlen=1, approximate=False)
    bench.archive()
    assert archived(order_id) == list(enumerate(STAGES, 1))
    assert dbsync.backlog() == 0


def test_an_event_that_is_set_aside_does_not_have_its_order_fed_for_ever(bench):
    (order_id,) = bench.place()
    bench.archive()
    feed(line(order_id, 3, status="cancelled", final=1, reason="gone"))
    bench.archive()
    assert [seq for seq, _ in archived(order_id)] == [1, 3]
    assert dbsync.backlog() == 0


def test_readers_of_one_machine_that_were_forked_have_names_of_their_own():
    script = (
        "import os; from orders.flow import dbsync, sniping; from routing.group import me; "
        "print(me(), flush=True); child = os.fork(); child or print(me(), flush=True); child and os.wait()"
    )
    setup = "import django, os; os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings'); django.setup(); "
    done = subprocess.run([sys.executable, "-c", setup + script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert len(set(done.stdout.split())) == 2, done.stdout


def test_an_entry_another_reader_takes_during_a_trim_stays(bench, monkeypatch):
    monkeypatch.setattr(dbsync, "TRIM_EVERY_S", 0)
    monkeypatch.setattr(dbsync, "KEEP_MS", -1_000)
    bench.place()
    bench.archive()
    bench.place()
    asked = type(redis()).xinfo_groups

    def taken_meanwhile(client, stream):
        found = asked(client, stream)
        read_by_another()
        return found

    monkeypatch.setattr(type(redis()), "xinfo_groups", taken_meanwhile)
    dbsync.trim()
    monkeypatch.setattr(type(redis()), "xinfo_groups", asked)
    assert pending() == redis().xlen(live.FEED) > 0


def test_entries_cut_off_unread_are_passed_over(bench, unannounced):
    bench.archive()
    (order_id,) = bench.place()
    feed(line(order_id, 2))
    feed(line(order_id, 3))
    dbsync.next_round(">")
    redis().xtrim(live.FEED, maxlen=1, approximate=False)
    bench.archive()
    assert archived(order_id) == [(3, "routing")]
    assert pending() == 0 and SetAside.objects.count() == 0


def test_the_backlog_counts_what_is_not_yet_written(bench):
    assert dbsync.backlog() == 0
    bench.place()
    bench.place()
    assert dbsync.backlog() == 2
    read_by_another(count=1)
    assert dbsync.backlog() == 2
    bench.archive()
    assert dbsync.backlog() == 1


def test_writing_a_batch_never_reads_the_whole_table(bench):
    ids = bench.place(3)
    rows = [event_rows.read(line(order_id, 2)) for order_id in ids]
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        event_rows.pin_plan()
        cursor.execute(
            "EXPLAIN UPDATE orders_order o SET seq = v.seq FROM jsonb_to_recordset('[]') AS v(order_id uuid, seq int) "
            "WHERE o.id = v.order_id"
        )
        plan = " ".join(text for (text,) in cursor.fetchall())
        cursor.execute("ROLLBACK")
    assert "Index" in plan and "Seq Scan" not in plan
    assert event_rows.store(rows).refused == []
    assert {bench.row(order_id).status for order_id in ids} == {Status.ROUTING}
