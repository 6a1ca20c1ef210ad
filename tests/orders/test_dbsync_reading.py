"""How DBSync reads the feed: who takes an entry, when it wakes, and what it trims."""

import subprocess
import sys
import threading

from django.db import connection, transaction

from config.env import ROOT
from orders.flow import dbsync
from orders.models import OrderEvent, SetAside
from orders.stores import live
from routing import group
from routing.store import redis
from tests.orders.bench import STAGES
from tests.orders.feed import archived, feed, line, pending
from tests.orders.test_dbsync import read_by_another


def test_an_entry_whose_reader_died_is_taken_over(bench, monkeypatch):
    monkeypatch.setattr(group, "TAKE_OVER_MS", 0)
    monkeypatch.setattr(group, "TAKE_OVER_EVERY_S", 0.0)
    (order_id,) = bench.place()
    read_by_another()
    bench.archive()
    assert archived(order_id) == [(1, "pending")]
    assert pending() == 0


def test_all_that_a_dead_reader_left_is_taken_over_at_once(bench, monkeypatch):
    monkeypatch.setattr(group, "TAKE_OVER_MS", 0)
    monkeypatch.setattr(group, "TAKE_OVER_EVERY_S", 0.0)
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
    updates = "SELECT coalesce(sum(n_tup_upd), 0) FROM pg_stat_xact_user_tables WHERE relname = 'orders_order'"
    with transaction.atomic():
        # What the session did before and has not reported yet is counted as well.
        ((before,),) = bench.sql(updates)
        assert dbsync.write_finished(held, next(dbsync.rounds(">", 0))) == dbsync.Round((), [])
        ((after,),) = bench.sql(updates)
    assert after - before == 1 and bench.row(order_id).status == "confirmed" and pending() == 0


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
    monkeypatch.setattr(group, "TAKE_OVER_EVERY_S", 0.0)
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
