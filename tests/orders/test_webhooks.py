"""Webhooks: signed, at least once, each order's events in sequence."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from config.env import ROOT
from deploy.servers import free_port
from orders.access.callers import Scope
from orders.models import ApiKey, JournalRow, Webhook
from orders.operations import webhook_calls
from orders.operations import webhooks as delivering
from orders.operations.webhook_calls import Answer, call
from orders.stores import journal, webhooks
from orders.stores.threads import aside
from orders.telemetry import metrics
from tests.flows.readme import block
from tests.orders.accounts import account, bearer
from tests.orders.bench import OWNER
from tests.orders.hooking import STAGES, deliver, deliver_all, hook, now, take, trade
from tests.orders.receiver import receiving, signatures
from tests.system import eventually

pytestmark = pytest.mark.usefixtures("webhook_account")


@pytest.fixture
def at_once(monkeypatch):
    """What failed is tried again at once."""
    monkeypatch.setattr(delivering, "away_ms", lambda *_: 0)


def test_each_order_is_told_whole_and_in_sequence_in_signed_batches(bench, receiver, monkeypatch):
    monkeypatch.setattr(delivering, "BATCH", 8)
    row = hook(receiver.url)
    ids = trade(bench, 4)
    deliver()
    assert receiver.seqs() == dict.fromkeys(ids, STAGES)
    assert [event for event in receiver.events if event["orderId"] == ids[0]] == bench.events(ids[0])
    assert len(receiver.calls) > 1
    for headers, body in receiver.calls:
        assert signatures(webhooks.shown(row.secret_id), headers, body) == [True]
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
        assert headers["content-type"] == "application/json"
    assert now(row).cursor == int(receiver.messages[-1]["cursor"]) > 0
    assert (row.last_status, row.failures, row.lease) == (204, 0, None)


def test_a_webhook_begins_with_what_happens_next_and_has_its_own_accounts_orders_alone(bench, receiver):
    trade(bench)
    hook(receiver.url)
    (theirs,) = bench.place()
    bench.sql("UPDATE orders_order SET owner_id = 77 WHERE id = %s", theirs)
    ids = trade(bench)
    deliver()
    assert receiver.seqs() == dict.fromkeys(ids, STAGES)


def test_a_secret_that_was_rotated_signs_beside_the_new_one_for_a_day(bench, receiver):
    row = hook(receiver.url)
    old = webhooks.shown(row.secret_id)
    webhooks.rotate(Webhook.objects.all())
    new = webhooks.shown(now(row).secret_id)
    trade(bench)
    deliver()
    Webhook.objects.update(old_secret_until=timezone.now() - timedelta(seconds=1))
    trade(bench)
    deliver()
    (first, last) = receiver.calls
    assert (signatures(new, *first), signatures(old, *first)) == ([True, False], [False, True])
    assert (signatures(new, *last), signatures(old, *last)) == ([True], [False])


def test_without_the_pepper_the_table_signs_nothing(bench, monkeypatch):
    row = hook("http://127.0.0.1/")
    before = webhooks.shown(row.secret_id)
    monkeypatch.setattr(webhooks, "pepper", lambda: b"another")
    assert webhooks.shown(row.secret_id) != before


def test_what_a_receiver_missed_while_it_was_down_comes_once_it_is_back(bench, receiver, at_once):
    row = hook(receiver.url)
    receiver.statuses = [500, 503]
    ids = trade(bench)
    deliver()
    ids += trade(bench)
    deliver()
    assert receiver.seqs() == {ids[0]: STAGES * 3, ids[1]: STAGES}
    ids_of_messages = [headers["webhook-id"] for headers, _ in receiver.calls]
    assert ids_of_messages[0] == ids_of_messages[1] == ids_of_messages[2] != ids_of_messages[3]
    assert (now(row).failures, row.failing_since, row.last_error) == (0, None, "")


def test_a_failure_is_noted_and_the_next_try_waits_ever_longer(bench):
    with receiving() as gone:
        row = hook(gone.url)
    trade(bench)
    waits = []
    for _ in range(12):
        Webhook.objects.update(next_at=timezone.now())
        deliver_all(take())
        waits.append((now(row).next_at - row.last_at).total_seconds())
    assert row.failures == 12 and row.failing_since and row.cursor == 0
    assert (row.last_error, row.last_status) == ("no connection to the receiver", None)
    assert 0.5 <= waits[0] <= 1 and 300 <= waits[-1] <= 600 and waits[3] > waits[0]
    assert take() == []


def test_after_a_day_of_failures_it_is_given_up_until_it_is_enabled(bench, receiver, at_once):
    row = hook(receiver.url)
    receiver.status = 500
    ids = trade(bench)
    deliver_all(take())
    Webhook.objects.update(failing_since=timezone.now() - timedelta(hours=24))
    deliver_all(take())
    assert (now(row).state, row.last_error) == ("failed", "the receiver answered 500")
    assert take() == []
    receiver.status = 200
    receiver.calls.clear()
    webhooks.switch(Webhook.objects.all(), on=True)
    deliver()
    assert receiver.seqs() == dict.fromkeys(ids, STAGES)
    assert (now(row).state, row.failing_since) == ("active", None)


def test_a_redirect_is_not_followed(bench, receiver, at_once):
    with receiving() as elsewhere:
        receiver.status, receiver.headers = 302, {"location": elsewhere.url}
        row = hook(receiver.url)
        trade(bench)
        deliver_all(take())
        assert elsewhere.calls == []
    assert (now(row).last_status, row.failures) == (302, 1)


def test_of_two_that_deliver_one_has_the_lease(bench, receiver):
    hook(receiver.url)
    trade(bench)
    (held,) = take()
    assert take() == []
    deliver_all([held])
    assert len(receiver.calls) == 1 and take() == []


def test_racing_processes_deliver_each_batch_once(bench, receiver, monkeypatch):
    monkeypatch.setattr(delivering, "BATCH", 5)
    hook(receiver.url)
    ids = trade(bench, 6)
    deliverers = [delivering.Deliverer() for _ in range(3)]
    for one in deliverers:
        one.start()
    try:
        eventually(lambda: receiver.seqs() == dict.fromkeys(ids, STAGES), 20, "all is delivered")
    finally:
        for one in deliverers:
            one.stop()
    assert receiver.seqs() == dict.fromkeys(ids, STAGES)


def test_one_that_wakes_after_another_took_over_moves_nothing(bench, receiver, at_once):
    row = hook(receiver.url)
    (first,) = trade(bench)
    (frozen,) = take()
    _, position, _ = journal.page(OWNER, frozen.cursor, 100)
    Webhook.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    (second,) = trade(bench)
    deliver()
    moved_to = now(row).cursor
    # Frozen in the middle of the call, and before it.
    asyncio.run(delivering.settle(frozen, position, 5, Answer("delivered", 204, "", 5)))
    assert position < moved_to == now(row).cursor
    deliver_all([frozen])
    assert now(row).cursor == moved_to and row.last_error == ""
    receiver.status = 500
    deliver_all([frozen])
    assert (now(row).cursor, row.failures) == (moved_to, 0)
    # Told again, and nothing is missing.
    assert set(receiver.seqs()) == {first, second} and receiver.seqs()[second][:5] == STAGES
    calls = len(receiver.calls)
    asyncio.run(delivering.deliver(frozen, time.monotonic() - delivering.SENT_BY_S - 1))
    assert len(receiver.calls) == calls, "an old lease sends nothing"


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: webhooks.replay(rows, 0),
        lambda rows: webhooks.switch(rows, on=False),
        lambda rows: webhooks.move(rows, "http://127.0.0.1:9/"),
    ],
    ids=["replay", "disable", "another address"],
)
def test_who_changes_a_webhook_overtakes_what_is_under_way(bench, receiver, change):
    row = hook(receiver.url)
    trade(bench)
    (held,) = take()
    change(Webhook.objects.all())
    deliver_all([held])
    assert now(row).cursor == 0 and len(receiver.calls) == 1


def test_a_replay_sends_again_under_new_ids(bench, receiver):
    hook(receiver.url)
    ids = trade(bench)
    deliver()
    webhooks.replay(Webhook.objects.all(), 0)
    deliver()
    assert receiver.seqs() == dict.fromkeys(ids, STAGES * 2)
    first, again = receiver.calls
    assert first[1] == again[1] and first[0]["webhook-id"] != again[0]["webhook-id"]


def test_a_slow_receiver_keeps_nobody_waiting(bench, receiver, monkeypatch):
    monkeypatch.setattr(delivering, "PLACES", 4)
    with receiving() as slow:
        slow.held = threading.Event()
        for _ in range(6):
            Webhook.objects.filter(pk=hook(slow.url).pk).update(last_ms=webhooks.SLOW_MS + 1)
        hook(receiver.url)
        ids = trade(bench)
        deliverer = delivering.Deliverer()
        deliverer.start()
        try:
            eventually(lambda: receiver.seqs() == dict.fromkeys(ids, STAGES), 9, "the quick one has it")
            eventually(lambda: len(slow.calls) == 2, 9, "the slow ones have half of the places")
        finally:
            slow.held.set()
            deliverer.stop()


def test_a_name_that_resolves_slowly_keeps_nobody_else_waiting(bench, receiver, at_once, slow_names, monkeypatch):
    """Resolving outlives its call and cannot be ended: it keeps its place, and its webhook has no second one."""
    monkeypatch.setattr(webhook_calls, "WITHIN_S", 0.3)
    monkeypatch.setattr(webhook_calls, "PLACES", 4)
    monkeypatch.setattr(delivering, "PLACES", 4)
    webhook_calls.resolvers.cache_clear()
    rows = [hook("http://slow.example.com/") for _ in range(6)]
    # Found by their failures to be slow, as any is after its first call.
    Webhook.objects.update(failures=1)
    hook(receiver.url)
    ids = trade(bench)
    deliverer = delivering.Deliverer()
    deliverer.start()
    try:
        tried = Webhook.objects.filter(pk__in=[row.pk for row in rows], failures=2)
        eventually(lambda: tried.count() == 2, 9, "two of them have failed")
        eventually(lambda: receiver.seqs() == dict.fromkeys(ids, STAGES), 9, "the other has it")
        more = trade(bench)
        eventually(lambda: receiver.seqs() == dict.fromkeys(ids + more, STAGES), 9, "and again")
        assert (tried.count(), Webhook.objects.filter(failures__gt=2).count()) == (2, 0)
    finally:
        slow_names.set()
        deliverer.stop()
        webhook_calls.resolvers.cache_clear()


def test_who_changes_a_webhook_again_and_again_has_one_call_of_it_under_way(bench):
    with receiving() as slow:
        slow.held = threading.Event()
        hook(slow.url)
        trade(bench)
        deliverer = delivering.Deliverer()

        async def rounds():
            for _ in range(3):
                await deliverer.round()
                await aside(webhooks.replay, Webhook.objects.all(), 0)
            under_way = len(deliverer.calls)
            slow.held.set()
            await asyncio.gather(*deliverer.calls)
            return under_way

        assert asyncio.run(rounds()) == 1


def test_an_account_has_a_share_of_the_places(bench, receiver, monkeypatch):
    monkeypatch.setattr(delivering, "OF_AN_ACCOUNT", 1)
    receiver.held = threading.Event()
    bob = account("bob").pk
    hook(receiver.url)
    trade(bench)
    deliverer = delivering.Deliverer()

    async def rounds():
        await deliverer.round()
        await aside(more)
        await deliverer.round()
        under_way = [held.account for held, _ in deliverer.calls.values()]
        receiver.held.set()
        await asyncio.gather(*deliverer.calls)
        return under_way

    def more():
        for owner in (OWNER, bob):
            webhooks.make(owner, receiver.url, all_accounts=False, most=10)
        Webhook.objects.filter(cursor__gt=0).update(cursor=0)
        trade(bench)
        bench.sql(
            "UPDATE orders_journalrow SET owner_id = %s WHERE position IN "
            "(SELECT max(position) FROM orders_journalrow)",
            bob,
        )

    assert asyncio.run(rounds()) == [OWNER, bob]


def test_nothing_is_sent_for_a_closed_account(bench, receiver):
    row = hook(receiver.url)
    User.objects.update(is_active=False)
    trade(bench)
    deliver()
    assert receiver.calls == []
    assert (now(row).state, "closed" in row.last_error) == ("failed", True)


def test_an_operators_webhook_gets_every_accounts_events_while_the_operator_has_a_key(bench, receiver):
    operator = account("operator")
    bearer(operator, {Scope.ADMIN})
    row = webhooks.make(operator.pk, receiver.url, all_accounts=True, most=1)
    ids = trade(bench)
    deliver()
    assert receiver.seqs() == dict.fromkeys(ids, STAGES)
    ApiKey.objects.update(revoked_at=timezone.now())
    trade(bench)
    deliver()
    assert (len(receiver.calls), now(row).state) == (1, "failed")


def test_a_replay_of_one_that_is_behind_skips_nothing(bench, receiver):
    row = hook(receiver.url)
    ids = trade(bench)
    _, newest = journal.bounds()
    webhooks.replay(Webhook.objects.all(), newest)
    assert now(row).cursor == 0
    deliver()
    assert receiver.seqs() == dict.fromkeys(ids, STAGES)


def test_times_are_those_of_postgres(bench, monkeypatch):
    """A process whose clock is wrong neither keeps a secret alive nor puts off a call."""
    row = hook("https://bot.example.com/")
    monkeypatch.setattr(timezone, "now", lambda: datetime(2020, 1, 1, tzinfo=UTC))
    webhooks.rotate(Webhook.objects.all())
    webhooks.replay(Webhook.objects.all(), 0)
    moment = bench.sql("SELECT now()")[0][0]
    assert abs(now(row).old_secret_until - moment - timedelta(days=1)) < timedelta(minutes=1)
    assert abs(row.next_at - moment) < timedelta(minutes=1)
    assert webhooks.with_old_secret(Webhook.objects.all()).get().signs_until == row.old_secret_until
    bench.sql("UPDATE orders_webhook SET old_secret_until = now() - interval '1 second'")
    assert webhooks.with_old_secret(Webhook.objects.all()).get().signs_until is None


def test_the_lag_is_the_age_of_what_is_not_delivered(bench, receiver):
    hook(receiver.url)
    assert webhooks.longest_lag_s() == 0
    trade(bench)
    JournalRow.objects.update(at=timezone.now() - timedelta(seconds=90))
    assert 89 < webhooks.longest_lag_s() < 120
    counted = metrics.WEBHOOKS.labels("delivered")._value.get()
    deliver()
    assert webhooks.longest_lag_s() == 0
    assert metrics.WEBHOOKS.labels("delivered")._value.get() == counted + 1


def test_the_receiver_of_the_readme_takes_what_is_signed_and_refuses_the_rest(bench):
    """The README's example, run as it stands."""
    port = free_port()
    row = hook(f"http://127.0.0.1:{port}/")
    ids = trade(bench)
    example = block("python", "webhook-signature").replace("8077", str(port))
    environ = {"WEBHOOK_SECRET": webhooks.shown(row.secret_id), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([sys.executable, "-c", example], env=environ, cwd=ROOT, stdout=subprocess.PIPE) as run:
        try:
            eventually(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 20, "it listens")
            refused = asyncio.run(call(row.url, b"{}", {"webhook-id": "a", "webhook-timestamp": "1"}))
            deliver()
        finally:
            run.terminate()
        told = run.stdout.read().decode().split()
    assert (refused.status, now(row).last_status) == (401, 204)
    assert [told.count(order_id) for order_id in ids] == [5] and told.count("confirmed") == 1
