"""Retention: what ended long ago leaves the hot tables whole, is found all the same, and is never placed again."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient
from structlog.testing import capture_logs

from orders.flow import dbsync, dead_letters, dispatch, intake, recovery, restoring
from orders.flow.intake import Accepted, Conflict
from orders.models import ArchivedOrder, Attempt, DeadLetter, Order, OrderEvent, SetAside
from orders.operations import heartbeats, retention
from orders.stores import event_codec, live, order_view, rebuild_marks, retired
from orders.stores.ids import new_id
from routing import epochs
from routing.models import LedgerEntry
from routing.store import redis
from tests.factories import AttemptFactory, DeadLetterFactory, OrderEventFactory, OrderFactory
from tests.forged import forged
from tests.keyring import BEARER
from tests.orders.bench import OWNER
from tests.orders.locks import in_thread, waits_for_a_lock
from tests.system import eventually

DAYS = 30


@pytest.fixture(autouse=True)
def thirty_days(settings):
    settings.RETENTION_DAYS = DAYS


def old(days=DAYS + 1, **columns):
    """Make a row that ended so many days ago."""
    columns = {"status": "confirmed"} | columns
    return OrderFactory(created_at=timezone.now() - timedelta(days=days), **columns)


def aged(order_id, days=DAYS + 1):
    """Have an order, with all it left behind, be of so many days ago; return its new id."""
    at = timezone.now() - timedelta(days=days)
    new_id = UUID(int=retention.first_at(int(at.timestamp() * 1000)).int | UUID(order_id).int & (2**80 - 1))
    with forged(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE orders_order SET id = %s, created_at = created_at - %s, updated_at = updated_at - %s WHERE id = %s",
            [new_id, timedelta(days=days), timedelta(days=days), order_id],
        )
        for table in ("orders_orderevent", "orders_attempt", "orders_deadletter"):
            cursor.execute(f"UPDATE {table} SET order_id = %s WHERE order_id = %s", [new_id, order_id])
    return str(new_id)


def begin_again():
    """Let the next walk begin at the first order, as it does once a round."""
    redis().delete(retention.BOOKMARK)


def retire_all():
    begin_again()
    return retention.retire()


def is_hot(order):
    return Order.objects.filter(pk=order.pk).exists()


@pytest.fixture
def confirmed(bench, settings):
    """An order that was carried to its end a month ago, and has long left Redis."""
    bench.quote_all()
    (order_id,) = bench.accept(bench.order(client_order_id="mine"))
    bench.run([order_id])
    bench.archive()
    redis().flushdb()
    rebuild_marks.mark_rebuilt(epochs.current())
    return aged(order_id)


# --- what leaves, and what stays


def test_an_order_leaves_with_all_it_had_and_comes_back_as_it_was(confirmed):
    row, events, attempts = (
        Order.objects.filter(pk=confirmed).values().get(),
        list(OrderEvent.objects.filter(order_id=confirmed).order_by("seq").values()),
        list(Attempt.objects.filter(order_id=confirmed).values()),
    )
    assert len(events) == 5 and bytes(attempts[0]["raw"])
    assert LedgerEntry.objects.filter(signature=attempts[0]["signature"]).exists()
    assert retention.retire() == 1
    for table in (Order, OrderEvent, Attempt, LedgerEntry):
        assert not table.objects.exists(), table
    kept = retired.find(confirmed)
    assert columns_of(retired.order(kept)) == row
    assert [columns_of(one) for one in retired.events(kept)] == events
    assert [columns_of(one) for one in retired.attempts(kept)] == attempts


def columns_of(row):
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_a_price_of_many_digits_and_a_trigger_come_back_exactly(bench):
    row = old(type="limit", limit_price="123456789012345678901.123456789012345678", trigger=[{"kind": "launch"}])
    before = Order.objects.filter(pk=row.pk).values().get()
    assert retire_all() == 1
    assert columns_of(retired.row(row.pk)) == before


@pytest.mark.parametrize("status", ["confirmed", "cancelled", "expired"])
def test_what_ended_before_the_limit_leaves_and_what_ended_after_it_stays(bench, status):
    gone, stays = old(status=status), old(DAYS - 1, status=status)
    assert retire_all() == 1
    assert (is_hot(gone), is_hot(stays)) == (False, True)


def test_an_old_order_that_ended_lately_stays_until_its_end_is_old(bench):
    late = old(90, updated_at=timezone.now() - timedelta(days=DAYS - 1))
    assert retire_all() == 0 and is_hot(late)


@pytest.mark.parametrize("status", ["pending", "triggered", "routing", "building", "submitted"])
def test_an_order_that_has_not_ended_stays_however_old(bench, status):
    one = old(400, type="limit", status=status)
    assert retire_all() == 0 and is_hot(one)


@pytest.mark.parametrize(
    ("state", "stays"), [("prepared", True), ("sent", True), ("landed", False), ("expired", False)]
)
def test_an_order_with_an_open_attempt_stays(bench, state, stays):
    one = old(status="cancelled")
    AttemptFactory(order=one, state=state)
    retire_all()
    assert is_hot(one) == stays


def test_a_failed_order_stays_until_its_dead_letter_is_written(bench):
    one = old(status="failed")
    assert retire_all() == 0 and is_hot(one)


@pytest.mark.parametrize(
    ("letter", "stays"),
    [
        ({"verdict": "safe"}, True),
        ({"verdict": "wait"}, True),
        ({"verdict": "landed"}, False),
        ({"verdict": "safe", "replay_may_help": False}, False),
        ({"verdict": "safe", "replayed_at": timezone.now()}, False),
    ],
)
def test_a_failed_order_stays_until_its_dead_letter_is_decided(bench, letter, stays):
    one = old(status="failed")
    kept = DeadLetterFactory(order=one, **letter)
    retire_all()
    assert is_hot(one) == stays
    assert DeadLetter.objects.filter(pk=kept.pk).exists() == stays
    if not stays:
        assert columns_of(retired.letter(retired.find(one.pk))) == columns_of(kept)


def test_an_order_stays_while_the_one_that_replays_it_does_and_follows_it(bench):
    dead = old(status="failed")
    DeadLetterFactory(order=dead, replayed_at=timezone.now())
    again = old(status="pending", type="limit", replay_of=dead)
    assert retire_all() == 0
    Order.objects.filter(pk=again.pk).update(status="confirmed")
    assert [retire_all(), retire_all()] == [1, 1]
    assert not (is_hot(dead) or is_hot(again))
    assert retired.row(again.pk).replay_of_id == dead.pk


def test_nothing_leaves_when_it_is_switched_off(bench, settings):
    settings.RETENTION_DAYS = 0
    one = old(4_000)
    assert retire_all() == 0 and is_hot(one)


def test_nothing_is_moved_while_live_orders_wait(bench, monkeypatch):
    one = old()
    bench.place()
    monkeypatch.setattr(retention, "BUSY_MS", -1)
    assert retire_all() == 0 and is_hot(one)


# --- the walk


def test_the_walk_goes_on_where_it_ended_and_comes_round(bench, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    resting = [old(100 - n, type="limit", status="pending") for n in range(5)]
    due = [old(60 - n) for n in range(3)]
    assert [retention.retire() for _ in range(3)] == [1, 2, 0]
    assert all(map(is_hot, resting)) and not any(map(is_hot, due))
    Order.objects.filter(pk=resting[0].pk).update(status="cancelled")
    assert retention.retire() == 0
    assert 0 < redis().ttl(retention.BOOKMARK) <= retention.ROUND_S
    assert retire_all() == 1 and not is_hot(resting[0])


def test_among_many_orders_no_table_is_read_whole(confirmed):
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO orders_order (id, type, pair, amount_in, slippage_bps, fingerprint)
            SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint + n), 12, '0') || '7'
                    || substr(md5(n::text), 1, 19))::uuid, 'market', 'SOL-USDC', 1, 50, ''
            FROM generate_series(1, 20000) n
            """
        )
        cursor.execute("ANALYZE orders_order")
    with transaction.atomic(), connection.cursor() as cursor:
        before = rows_read(cursor)
        assert retention.retire() == 1
        # The checks of foreign keys count too: made at once, and not at the end.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        read = {name: count - before.get(name, 0) for name, count in rows_read(cursor).items()}
    whole = {name: count for name, count in read.items() if name[1] == "whole" and count}
    assert not whole and 0 < read["orders_order", "by index"] < 20, read


def rows_read(cursor):
    """Return how many rows this connection has read of each table, reading it whole and by an index."""
    cursor.execute(
        """
        SELECT relname, kind, rows FROM pg_stat_xact_user_tables,
               LATERAL (VALUES ('whole', seq_tup_read), ('by index', idx_tup_fetch)) AS read (kind, rows)
        WHERE relname ~ '^orders_' AND rows IS NOT NULL
        """
    )
    return {(name, kind): rows for name, kind, rows in cursor.fetchall()}


# --- all or nothing


def test_a_move_that_breaks_off_leaves_everything_where_it_was(confirmed, monkeypatch):
    class Killed(Exception):
        pass

    def die(signatures):
        raise Killed

    before = [table.objects.count() for table in (Order, OrderEvent, Attempt, LedgerEntry, ArchivedOrder)]
    with monkeypatch.context() as patch:
        patch.setattr(retention.ledger, "forget", die)
        with pytest.raises(Killed):
            retention.retire()
    assert [table.objects.count() for table in (Order, OrderEvent, Attempt, LedgerEntry, ArchivedOrder)] == before
    assert retention.retire() == 1


def test_a_row_somebody_holds_is_passed_by_and_not_waited_for(bench):
    held, free = old(), old()
    with transaction.atomic():
        Order.objects.select_for_update().get(pk=held.pk)
        thread, answers = in_thread(retire_all)
        thread.join(30)
        assert answers == [1]
    assert is_hot(held) and not is_hot(free)


# --- an archived order is never placed again


def test_a_repeat_of_an_archived_order_is_answered_with_that_order(bench, confirmed):
    assert retention.retire() == 1
    again, fresh = bench.order(client_order_id="mine"), bench.order(client_order_id="other")
    answers = intake.place([again, fresh])
    assert answers[0] == Accepted(confirmed, "confirmed", retired.row(confirmed).created_at, repeat=True)
    assert answers[1].order_id == fresh.order.id and not answers[1].repeat
    assert [str(pk) for pk in Order.objects.values_list("pk", flat=True)] == [fresh.order.id]


def test_an_archived_name_with_another_order_is_a_conflict(bench, confirmed):
    retention.retire()
    (answer,) = intake.place([bench.order(amount=7_000_000, client_order_id="mine")])
    assert isinstance(answer, Conflict) and answer.order_id == confirmed
    assert not Order.objects.exists()


def test_a_repeat_that_comes_while_its_order_moves_places_nothing(bench, confirmed):
    """The repeat's statement began before the move was committed, and goes on after it."""
    with transaction.atomic():
        assert retention.move([UUID(confirmed)], DAYS) == 1
        thread, answers = in_thread(lambda: intake.place([bench.order(client_order_id="mine")]))
        eventually(waits_for_a_lock, 30, "the repeat waits for the one that moves its order")
    thread.join(30)
    assert [(one.order_id, one.repeat) for one in answers[0]] == [(confirmed, True)]
    assert not Order.objects.exists()


def test_postgres_refuses_an_archived_name_whatever_the_code_believes(bench, confirmed):
    retention.retire()
    with pytest.raises(IntegrityError, match="client order id mine names an archived order"):
        intake.write([bench.order(client_order_id="mine")])
    with pytest.raises(IntegrityError, match="names an archived order"):
        OrderFactory(client_order_id="mine", owner_id=OWNER)


def test_an_integrity_error_of_another_kind_is_not_swallowed(bench):
    with pytest.raises(IntegrityError, match="foreign key"):
        intake.insert([intake.NewOrder(bench.order().order, replay_of=new_id())])


def test_a_second_replay_of_an_order_whose_replay_is_archived_returns_that(bench):
    dead = old(status="failed")
    DeadLetterFactory(order=dead)
    first = dead_letters.replay(str(dead.pk), by="ada").order_id
    Order.objects.filter(pk=first).update(status="confirmed")
    moved = aged(first)
    with transaction.atomic():
        assert retention.move([UUID(moved)], DAYS) == 1
    second = dead_letters.replay(str(dead.pk), by="bob")
    assert (second.order_id, second.repeat) == (moved, True)
    assert Order.objects.count() == 1


# --- it is found all the same


def test_the_api_answers_for_an_archived_order_as_before(confirmed):
    client, address = APIClient(headers=BEARER), f"/api/orders/{confirmed}"
    before = client.get(address).json(), client.get(f"{address}/events").json(), client.get(f"{address}/events?after=3")
    assert len(before[1]["events"]) == 5
    assert retention.retire() == 1
    assert client.get(address).json() == before[0]
    assert client.get(f"{address}/events").json() == before[1]
    assert client.get(f"{address}/events?after=3").json() == before[2].json()
    assert client.get("/api/orders").json()["results"] == []


def test_an_archived_order_can_neither_be_cancelled_nor_amended(bench):
    one = old(type="limit", limit_price="155.2", status="cancelled", time_in_force="gtc")
    retire_all()
    client, address = APIClient(headers=BEARER), f"/api/orders/{one.pk}"
    cancelled = client.delete(address)
    assert (cancelled.status_code, cancelled.json()["error"]["code"]) == (409, "not_resting")
    amended = client.patch(address, {"limitPrice": "150"}, format="json", HTTP_IF_MATCH='"1"')
    assert (amended.status_code, amended.json()["error"]["code"]) == (409, "not_resting")


def test_a_late_client_gets_the_whole_story_of_an_archived_order(confirmed):
    retention.retire()
    history = order_view.history(confirmed)
    assert [cursor.seq for cursor, _ in history.events] == [1, 2, 3, 4, 5] and history.finished
    assert order_view.history(confirmed, history.events[3][0]).events == history.events[4:]
    assert order_view.history(str(UUID(int=7))) is None


def test_an_order_that_leaves_between_two_looks_is_seen_whole(confirmed, monkeypatch):
    real = retired.find

    def find_later(order_id):
        retention.retire()
        return real(order_id)

    monkeypatch.setattr(retired, "find", find_later)
    assert len(order_view.history(confirmed).events) == 5
    begin_again()
    monkeypatch.undo()
    assert retired.row(confirmed).status == "confirmed"


def test_the_admin_shows_an_archived_order_and_finds_it_by_its_names(confirmed, operator):
    retention.retire()
    address = f"/admin/orders/archivedorder/{confirmed}/change/"
    page = operator.get(f"/admin/orders/order/{confirmed}/change/", follow=True)
    assert page.redirect_chain == [(address, 302)]
    kept = retired.find(confirmed)
    text = page.content.decode()
    assert f"1. landed at {retired.attempts(kept)[0].venue}: {kept.tx_hash}" in text
    assert "Timeline: confirmed after" in text
    for typed in (confirmed, confirmed[:13], "mine", kept.tx_hash, kept.tx_hash[:20]):
        assert address in operator.get("/admin/orders/order/", {"q": typed}).content.decode(), typed
        assert address in operator.get("/admin/orders/archivedorder/", {"q": typed}).content.decode(), typed
    assert address not in operator.get("/admin/orders/order/", {"q": "nothing like it"}).content.decode()


# --- nothing brings it back


def test_an_archived_order_is_not_rebuilt(confirmed):
    retention.retire()
    assert restoring.restore([confirmed], "a test") == set()
    redis().flushdb()
    recovery.recover()
    assert live.statuses([confirmed]) == {} and not Order.objects.exists()


def line(order_id, seq, status="confirmed"):
    event = {"orderId": order_id, "seq": seq, "status": status, "at": "2026-11-22T12:00:00.123Z", "attempt": 1}
    return f"{order_id} {seq} 1 {event_codec.dump(event)}"


def test_an_event_of_an_archived_order_fed_again_is_no_news_and_one_it_lacks_is_set_aside(confirmed):
    retention.retire()
    dbsync.write([line(confirmed, 4), line(confirmed, 5)])
    assert not SetAside.objects.exists()
    with capture_logs() as logs:
        dbsync.write([line(confirmed, 6)])
    assert SetAside.objects.get().reason == "its order is archived, without this event"
    assert "record set aside" in [one["event"] for one in logs]
    assert not Order.objects.exists() and not OrderEvent.objects.exists()


# --- the archive forgets


def test_the_archive_keeps_what_it_has_for_ever_unless_told_otherwise(bench, settings):
    gone, kept = old(), old()
    retire_all()
    with forged():
        ArchivedOrder.objects.filter(pk=gone.pk).update(archived_at=timezone.now() - timedelta(days=366))
        ArchivedOrder.objects.filter(pk=kept.pk).update(archived_at=timezone.now() - timedelta(days=364))
    retention.retire()
    assert ArchivedOrder.objects.count() == 2
    settings.ARCHIVE_DAYS = 365
    retention.retire()
    assert [one.pk for one in ArchivedOrder.objects.all()] == [kept.pk]


def test_what_replays_an_order_that_is_still_here_is_not_forgotten(bench, settings):
    settings.ARCHIVE_DAYS = 30
    replayed = old(status="failed")
    replay = old(replay_of=replayed)
    retire_all()
    assert is_hot(replayed) and not is_hot(replay)
    with forged():
        ArchivedOrder.objects.update(archived_at=timezone.now() - timedelta(days=31))
    retention.retire()
    assert ArchivedOrder.objects.filter(pk=replay.pk).exists()
    Order.objects.filter(pk=replayed.pk).delete()
    retention.retire()
    assert not ArchivedOrder.objects.exists()


def test_a_queue_nobody_works_through_does_not_keep_orders_here(bench, monkeypatch):
    one = old()
    monkeypatch.setattr(dispatch, "ages_ms", lambda: {**dict.fromkeys(dispatch.QUEUES, 0), "sniper": 90_000})
    heartbeats.beat("sniper")
    retire_all()
    assert is_hot(one)
    heartbeats.stop("sniper")
    retire_all()
    assert not is_hot(one)


def test_events_only_the_attempts_know_are_told_after_the_move_too(bench):
    one = old(seq=3, result={"reason": "asked for by its owner"}, status="cancelled")
    OrderEventFactory(order=one, seq=3, status="cancelled", facts={"reason": "asked for by its owner"})
    trail = [{"orderId": str(one.pk), "seq": 2, "status": "routing", "at": "2026-01-01T00:00:00.000Z", "attempt": 1}]
    AttemptFactory(order=one, state="rejected", seq=3, trail=trail)
    before = order_view.history(str(one.pk))
    assert [cursor.seq for cursor, _ in before.events] == [1, 2, 3]
    retire_all()
    assert order_view.history(str(one.pk)) == before
