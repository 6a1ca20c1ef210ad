"""History is only added to: the database refuses to change it, and what is changed all the same is found and named."""

import hashlib
import json
import threading
import time
from datetime import timedelta
from io import StringIO
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import Error, ProgrammingError, connection, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from orders.flow import dbsync, restoring, sealing
from orders.models import Act, ArchivedOrder, Order, OrderEvent, Seal
from orders.operations import audit, retention
from orders.stores import acts, history, seals
from orders.stores.rows import fetch
from routing import epochs
from tests.factories import OrderEventFactory, OrderFactory
from tests.forged import forged

EVENT = "orders_orderevent"


@pytest.fixture
def sealed(bench):
    """Three orders that were executed and sealed, and an operator's act."""
    sealing.noted.clear()
    sealing.Walk().page()
    bench.quote_all()
    ids = bench.place(3)
    bench.run(ids)
    bench.archive()
    assert sealing.seal() == 3
    acts.record("ada", "10.0.0.7", "halt", "everything", "halted", reason="wrong prices")
    return sorted(ids)


def wrong(noted=seals.NONE):
    """Return what the verification finds."""
    *_, result = audit.verify(noted)
    return result.wrong


def forge(statement, *parameters):
    """Change history behind the database's back."""
    with forged(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def test_what_ended_is_sealed_once_with_all_its_events(sealed, bench):
    *_, result = audit.verify()
    assert (result.wrong, result.orders, result.acts) == ([], 3, 1)
    assert [seal.kind for seal in Seal.objects.order_by("pk")] == ["start", "order", "order", "order", "act"]
    events = OrderEvent.objects.filter(order_id=sealed[0]).count()
    assert len(Seal.objects.get(order_id=sealed[0]).digests) == events * seals.DIGEST_BYTES
    assert seals.seal(map(UUID, sealed)) == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status", "'failed'"),
        ("at", "at + interval '1 microsecond'"),
        ("attempt", "7"),
        ("facts", "facts || '{\"x\": 1}'"),
    ],
)
def test_an_altered_event_is_named(sealed, column, value):
    forge(f"UPDATE {EVENT} SET {column} = {value} WHERE order_id = %s AND seq = 3", sealed[1])
    assert wrong() == [f"order {sealed[1]}, event 3: altered"]


def test_a_deleted_event_is_named(sealed):
    forge(f"DELETE FROM {EVENT} WHERE order_id = %s AND seq = 2", sealed[0])
    assert wrong() == [f"order {sealed[0]}, event 2: deleted"]


def test_an_inserted_event_is_named(sealed):
    last = OrderEvent.objects.filter(order_id=sealed[0]).count()
    # Nothing forbids this to a role that writes events.
    OrderEventFactory(order=Order.objects.get(pk=sealed[0]), seq=last + 1, status="failed")
    assert wrong() == [f"order {sealed[0]}, event {last + 1}: inserted"]


def test_a_deleted_order_is_named(sealed):
    forge(f"DELETE FROM {EVENT} WHERE order_id = %s", sealed[2])
    assert wrong() == [f"order {sealed[2]}: deleted with its 5 events"]


def test_an_order_that_was_slipped_in_is_named(sealed):
    order = OrderFactory(status="confirmed", seq=2, created_at=timezone.now())
    assert wrong() == []
    Order.objects.filter(pk=order.pk).update(updated_at=timezone.now() - timedelta(hours=25))
    forge("UPDATE orders_seal SET at = at - interval '2 days' WHERE id = 1")
    assert f"order {order.pk}: inserted, or without all its 2 events: it has no seal" in wrong()


def test_an_act_that_was_altered_deleted_or_inserted_is_named(sealed):
    (act,) = Act.objects.all()
    forge("UPDATE orders_act SET who = 'eve'")
    assert wrong() == [f"act {act.pk}: altered"]
    forge("DELETE FROM orders_act")
    assert wrong() == [f"act {act.pk}: deleted"]
    forge("UPDATE orders_act SET who = 'ada'")
    made = Act.objects.create(who="eve", origin="", what="", subject="", reason="", outcome="")
    assert wrong()[-1] == f"act {made.pk}: inserted, it has no seal"


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            "UPDATE orders_seal SET digests = digests || 'x' WHERE id = 3",
            "seal 3: altered or inserted, it does not follow",
        ),
        ("UPDATE orders_seal SET at = now() WHERE id = 3", "seal 3: altered or inserted, it does not follow"),
        ("UPDATE orders_seal SET head = sha256('x') WHERE id = 3", "seal 3: altered or inserted, it does not follow"),
        ("DELETE FROM orders_seal WHERE id = 3", "seal 3: deleted"),
        (
            "INSERT INTO orders_seal SELECT 6, kind, gen_random_uuid(), NULL, at, digests, head"
            " FROM orders_seal WHERE id = 4",
            "seal 6: altered or inserted, it does not follow from seal 5",
        ),
    ],
)
def test_a_seal_that_was_altered_deleted_or_inserted_is_named(sealed, statement, found):
    forge(statement)
    assert wrong()[0].startswith(found)


def test_a_chain_that_was_cut_or_made_anew_does_not_have_the_head_that_was_noted(sealed):
    noted = seals.head()
    assert wrong(noted) == []
    forge("DELETE FROM orders_seal WHERE id >= 4")
    assert f"seal {noted.number}, which was noted, is deleted: the chain ends at 3" in wrong(noted)
    sealing.Walk().page()
    sealing.seal()
    act = Act.objects.get().pk
    seals_again(act)
    assert wrong() == [] and wrong(noted) == [
        f"seal {noted.number}: not the one that was noted, the chain was made anew"
    ]


def seals_again(act):
    with transaction.atomic():
        seals.seal_act(act)


STAND = (
    f"UPDATE {EVENT} SET status = 'failed'",
    f"UPDATE {EVENT} SET epoch = epoch - 1",
    f"UPDATE {EVENT} SET seq = seq + 10, epoch = epoch + 1",
    f"DELETE FROM {EVENT}",
    f"DELETE FROM {EVENT} WHERE seq = 5",
    f"TRUNCATE {EVENT}",
    *(f"{verb} {table}" for table in ("orders_act", "orders_seal") for verb in ("DELETE FROM", "TRUNCATE")),
    "UPDATE orders_act SET reason = ''",
    "UPDATE orders_seal SET at = now()",
    "UPDATE orders_archivedorder SET events = '[]'",
    "DELETE FROM orders_archivedorder",
    "TRUNCATE orders_archivedorder",
)


@pytest.mark.parametrize("statement", STAND)
def test_the_database_refuses_its_owner_too(sealed, statement):
    order = Order.objects.get(pk=sealed[0])
    ArchivedOrder.objects.create(id=uuid4(), tx_hash="", columns={}, events=[], attempts=[])
    with pytest.raises(Error, match=r"stands: no|keeps history: no") as refused, connection.cursor() as cursor:
        cursor.execute(statement)
    assert isinstance(refused.value, ProgrammingError) and order.pk
    assert wrong() == []


def test_retention_moves_a_sealed_order_and_forgets_it_and_the_chain_says_so(sealed):
    assert len(retention.take([UUID(sealed[0])])) == 1
    assert wrong() == [] and not OrderEvent.objects.filter(order_id=sealed[0]).exists()
    forge("UPDATE orders_archivedorder SET events = jsonb_set(events, '{1,attempt}', '9')")
    assert wrong() == [f"order {sealed[0]}, event 2: altered"]
    assert retention.forget(0) == 1
    assert wrong() == [] and Seal.objects.filter(order_id=sealed[0], kind="forgotten").exists()


def test_an_order_that_is_told_again_after_a_loss_of_redis_is_as_it_was_sealed(sealed):
    row = Order.objects.prefetch_related("events", "attempts").get(pk=sealed[0])
    again = restoring.tell_anew(row, history.of(row), 2, epochs.advance("a test"))
    assert again[-1]["epoch"] == OrderEvent.objects.get(order_id=sealed[0], seq=5).epoch
    assert wrong() == []


def test_orders_from_before_are_said_to_have_no_seal(bench):
    OrderFactory(status="confirmed", created_at=timezone.now() - timedelta(days=2))
    OrderFactory(status="pending", created_at=timezone.now() - timedelta(days=2))
    sealing.Walk().page()
    assert sealing.Walk().page() == 0 and sealing.seal() == 0
    out = StringIO()
    call_command("audit", "verify", stdout=out)
    assert "not sealed: 1 not ended, 1 from before" in out.getvalue()


def test_an_order_without_all_its_events_is_not_sealed(bench):
    seals.begin()
    order = OrderFactory(status="confirmed", seq=3)
    for seq in (1, 3):
        OrderEventFactory(order=order, seq=seq)
    assert seals.seal([order.pk]) == 0
    OrderEventFactory(order=order, seq=2)
    assert seals.seal([order.pk]) == 1


def test_what_a_worker_forgot_when_it_died_is_sealed_by_the_walk(bench):
    seals.begin()
    bench.quote_all()
    ids = bench.place(2)
    bench.run(ids)
    bench.archive()
    sealing.noted.clear()
    walk = sealing.Walk()
    assert walk.step() == 2 and walk.step() == 0
    assert wrong() == []


def test_sealing_waits_while_dbsync_is_behind_but_not_for_ever(bench, monkeypatch):
    seals.begin()
    bench.quote_all()
    bench.run(bench.place(2))
    bench.archive()
    walk = sealing.Walk(lambda: sealing.BUSY_MS + 1)
    walk.due_at = time.monotonic()
    assert walk.step() == 0
    monkeypatch.setattr(sealing, "PATIENCE_S", 0.0)
    assert walk.step() == 2


def test_two_workers_seal_a_burst_exactly_once(bench):
    seals.begin()
    bench.quote_all()
    ids = [order_id for _ in range(5) for order_id in bench.place(40)]
    bench.run(ids)
    dbsync.drain()
    sealing.noted.clear()
    shares = [ids, ids[::-1]]
    counts = []

    def work(share):
        try:
            counts.extend(seals.seal(map(UUID, share[at : at + 20])) for at in range(0, len(share), 20))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[share]) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 200
    *_, result = audit.verify()
    assert (result.wrong, result.orders, result.seals) == ([], 200, 201)


def test_a_worker_that_dies_in_the_middle_leaves_nothing_and_another_goes_on(sealed, bench, monkeypatch):
    bench.quote_all()
    ids = bench.place(2)
    bench.run(ids)
    bench.archive()
    with monkeypatch.context() as dying:
        dying.setattr(seals, "append", lambda entries: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sealing.seal()
    assert sealing.Walk().step() == 2
    assert wrong() == []


def test_the_command_names_the_first_wrong_row_and_exits_with_1(sealed):
    out = StringIO()
    forge(f"UPDATE {EVENT} SET attempt = 9 WHERE order_id = %s AND seq = 4", sealed[0])
    with pytest.raises(SystemExit) as done:
        call_command("audit", "verify", stdout=out)
    assert done.value.code == 1
    assert out.getvalue().startswith(f"order {sealed[0]}, event 4: altered\n")
    assert f"head {seals.head()}" in out.getvalue()


# --- the wire format


def canonical(value):
    """Write JSON as the wire format has it, without Postgres."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return "{" + ", ".join(f"{canonical(name)}: {canonical(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


TEXT = st.text(st.characters(exclude_characters="\0\x7f", exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON)
@pytest.mark.django_db
def test_postgres_writes_facts_as_the_wire_format_says(value):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(value)])
        assert cursor.fetchone() == (canonical(value),)


def test_a_digest_does_not_depend_on_the_sessions_settings(sealed):
    before = fetch(audit.HOT, list(map(UUID, sealed)))
    with connection.cursor() as cursor:
        cursor.execute("SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'German'; SET bytea_output = 'escape'")
        try:
            assert fetch(audit.HOT, list(map(UUID, sealed))) == before
        finally:
            cursor.execute("RESET ALL")


def test_a_digest_is_the_one_that_is_documented(bench):
    order = OrderFactory(id=UUID(int=1), status="confirmed", seq=1)
    OrderEventFactory(
        order=order,
        seq=1,
        status="confirmed",
        attempt=2,
        at="2026-01-02T03:04:05.678Z",
        facts={"venue": "METEORA", "a": 1},
    )
    seals.seal([order.pk])
    told = b'confirmed{"a": 1, "venue": "METEORA"}'
    at = 1767323045678000
    fields = UUID(int=1).bytes + bytes([0, 0, 0, 1, 0, 0, 0, 2]) + at.to_bytes(8, "big") + bytes([0, 0, 0, 9]) + told
    assert bytes(Seal.objects.get(order_id=order.pk).digests) == hashlib.sha256(fields).digest()[:16]
