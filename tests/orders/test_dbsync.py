"""DBSync: from the feed in Redis to rows in Postgres."""

import pytest
from django.db import OperationalError

from orders import models
from orders.flow import dbsync, limits, waiting
from orders.models import OrderEvent, SetAside
from orders.stores import event_codec, event_rows, live
from routing.store import redis
from tests.orders.bench import STAGES
from tests.orders.feed import archived, feed, line, pending


def read_by_another(count=10):
    """Let a reader take entries and die."""
    dbsync.group.ensure()
    redis().xreadgroup(dbsync.GROUP, "another", {live.FEED: ">"}, count=count)


def test_five_events_and_the_order_row_reach_postgres_as_the_client_saw_them(bench):
    bench.quote_all()
    (order_id,) = bench.place()
    bench.run([order_id])
    told = bench.events(order_id)
    bench.archive()
    assert archived(order_id) == list(enumerate(STAGES, 1))
    kept = OrderEvent.objects.get(order_id=order_id, seq=5)
    assert kept.facts == event_codec.facts_of(told[4]) and kept.epoch == told[4]["epoch"] > 0
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
    assert archived(order_id) == [(1, "pending"), (2, "routing"), (3, "routing"), (4, "building"), (5, "confirmed")]
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
