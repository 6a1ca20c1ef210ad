"""Webhooks: signed, at least once, each order's events in sequence; and never to where only the engine gets."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from ipaddress import ip_address

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from config.env import ROOT
from deploy.servers import free_port
from orders.access.callers import Scope
from orders.models import Act, ApiKey, JournalRow, Webhook
from orders.operations import webhook_calls
from orders.operations import webhooks as delivering
from orders.operations.webhook_calls import Answer, NotAllowed, addresses, call, parsed
from orders.stores import journal, webhooks
from orders.stores.threads import aside
from orders.telemetry import metrics
from tests.flows.readme import block
from tests.orders.accounts import account, bearer, rows_of_keys
from tests.orders.bench import OWNER
from tests.orders.doors import delete, error_of, field_of, get, http, patch, post
from tests.orders.pages import list_of
from tests.orders.receiver import receiving, signatures
from tests.system import eventually

HOOKS = "/api/webhooks"


@pytest.fixture(autouse=True)
def an_account(bench, settings):
    """The account of the tests' orders, whose webhooks may go to this machine."""
    settings.ENGINE_WEBHOOK_PRIVATE = True
    bench.quote_all()
    User.objects.create(pk=OWNER, username="tests")
    # The ids of others follow.
    bench.sql("SELECT setval(pg_get_serial_sequence('auth_user', 'id'), (SELECT max(id) FROM auth_user))")


@pytest.fixture
def receiver():
    with receiving() as one:
        yield one


@pytest.fixture
def at_once(monkeypatch):
    """What failed is tried again at once."""
    monkeypatch.setattr(delivering, "away_ms", lambda *_: 0)


def hook(url, **more):
    return webhooks.make(OWNER, url, **{"all_accounts": False, "most": 10, **more})


def trade(bench, count=1):
    """Have orders filled and saved; return their ids."""
    ids = bench.place(count, slippage_bps=5_000)
    bench.run(ids)
    bench.archive()
    return ids


def take(limit=8):
    return webhooks.claim(limit, slow=False) + webhooks.claim(limit, slow=True)


def deliver_all(held):
    async def every():
        await asyncio.gather(*(delivering.deliver(one, time.monotonic()) for one in held))

    asyncio.run(every())


def deliver(rounds=50):
    """Deliver until there is nothing more, or nothing that is due."""
    for _ in range(rounds):
        if not (held := take()):
            return
        deliver_all(held)
    pytest.fail(f"still not done after {rounds} rounds")


def now(row):
    row.refresh_from_db()
    return row


STAGES = [1, 2, 3, 4, 5]


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
    assert "ConnectError" in row.last_error and row.last_status is None
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


PRIVATE = [
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("::1", "::ffff:10.0.0.1", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "::", "64:ff9b::10.0.0.1", "2002:a00:1::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_an_address_that_is_not_public_is_refused_by_number_and_by_name(address, settings, monkeypatch):
    settings.ENGINE_WEBHOOK_PRIVATE = False
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(NotAllowed, match="not public"):
        parsed(f"https://{literal}/events")
    # One address of several is enough.
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in ("8.8.8.8", address)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(NotAllowed, match="not public"):
        await addresses(parsed("https://receiver.example.com/events"))
    answer = await call("https://receiver.example.com/events", b"", {})
    assert (answer.outcome, str(ip_address(address)) in answer.error) == ("forbidden", True)


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f.1", "2130706433"])
async def test_other_spellings_of_this_machine_are_refused(host, settings):
    settings.ENGINE_WEBHOOK_PRIVATE = False
    answer = await call(f"https://{host}/", b"", {})
    assert (answer.outcome, "not public" in answer.error) == ("forbidden", True), answer


async def test_the_connection_goes_to_the_address_that_was_checked(receiver, monkeypatch):
    asked = []

    def once(host, port, **_):
        asked.append(host)
        assert len(asked) == 1, "a name is resolved once"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(webhook_calls.socket, "getaddrinfo", once)
    url = receiver.url.replace("127.0.0.1", "receiver.example.com")
    answer = await call(url, b"{}", {})
    assert (answer.outcome, asked) == ("delivered", ["receiver.example.com"])
    assert receiver.calls[0][0]["host"] == f"receiver.example.com:{receiver.port}"


async def test_a_receiver_that_never_answers_ends_within_the_limit(receiver, monkeypatch):
    monkeypatch.setattr(webhook_calls, "WITHIN_S", 0.2)
    receiver.held = threading.Event()
    answer = await call(receiver.url, b"{}", {})
    receiver.held.set()
    assert (answer.outcome, answer.error) == ("unreachable", "no answer within 0.2 s")


async def test_a_webhook_is_made_shown_changed_and_deleted_and_its_secret_is_shown_once(bench):
    made = (await post({"url": "https://bot.example.com/events"}, HOOKS)).json()
    place = f"{HOOKS}/{made['webhookId']}"
    assert made.pop("secret").startswith("whsec_")
    assert (await get(place)).json() == made
    assert (await get(HOOKS)).json() == {"results": [made]}
    disabled = await patch(place, {"enabled": False})
    assert (disabled.json()["state"], "secret" in disabled.json()) == ("disabled", False)
    moved = (await patch(place, {"url": "https://new.example.com/", "enabled": True})).json()
    assert (moved["state"], moved["url"]) == ("active", "https://new.example.com/")
    rotated = (await post(None, f"{place}/rotate")).json()
    assert rotated["secret"].startswith("whsec_") and rotated["oldSecretUntil"]
    assert (await post({"after": "0"}, f"{place}/replay")).json()["cursor"] == "0"
    assert (await delete(place)).status_code == 200
    assert (await get(place)).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": "ftp://bot.example.com/"}, "url"),
        ({"url": "http://bot.example.com/"}, "url"),
        ({"url": "https://me:secret@bot.example.com/"}, "url"),
        ({"url": "https://bot.example.com/#x"}, "url"),
        ({"url": "https://[::1]/"}, "url"),
        ({"url": f"https://bot.example.com/{'x' * 500}"}, "url"),
        ({"url": "https://bot.example.com/", "events": []}, "events"),
        ({"url": "https://bot.example.com/", "all": 1}, "all"),
    ],
)
async def test_a_wrong_request_names_the_field(bench, settings, body, field):
    settings.ENGINE_WEBHOOK_PRIVATE = False
    answer = await post(body, HOOKS)
    assert (answer.status_code, field_of(answer)["field"]) == (400, field)


async def test_a_cursor_of_nobody_is_refused_for_a_replay(bench):
    place = f"{HOOKS}/{(await post({'url': 'https://bot.example.com/'}, HOOKS)).json()['webhookId']}"
    answer = await post({"after": "4711"}, f"{place}/replay")
    assert (answer.status_code, field_of(answer)["field"]) == (400, "after")


async def test_an_account_has_a_few_webhooks_and_no_more(bench, settings):
    settings.ENGINE_WEBHOOKS_MAX = 2
    answers = [await post({"url": "https://bot.example.com/"}, HOOKS) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert error_of(answers[2])["code"] == "too_many_webhooks"


async def test_a_webhook_does_not_exist_for_another_account_nor_for_an_operator(bench, monkeypatch):
    made = (await post({"url": "https://bot.example.com/"}, HOOKS)).json()["webhookId"]
    with rows_of_keys(monkeypatch):
        for scopes in ({Scope.READ, Scope.TRADE}, set(Scope)):
            header = await aside(lambda scopes=scopes: bearer(account("bob"), scopes))
            async with http() as client:
                for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
                    answer = await client.request(method, f"{HOOKS}/{made}{path}", headers=header)
                    assert answer.status_code == 404
                assert (await client.get(HOOKS, headers=header)).json() == {"results": []}


async def test_events_of_every_account_are_for_an_operators_key_and_on_record(bench, monkeypatch):
    with rows_of_keys(monkeypatch):
        for scopes, status in (({Scope.TRADE}, 403), ({Scope.TRADE, Scope.ADMIN}, 201)):
            header = await aside(lambda scopes=scopes: bearer(account("bob"), scopes))
            answer = await post({"url": "https://bot.example.com/", "all": True}, HOOKS, **header)
            assert answer.status_code == status, answer.text
    assert await aside(lambda: list(Act.objects.values_list("what", flat=True))) == ["make webhook"]


def test_an_operator_disables_enables_and_replays_in_the_admin_and_it_is_on_record(bench, receiver, operator):
    row = hook(receiver.url)
    ids = trade(bench)
    assert "active" in list_of(operator, Webhook)
    deliver()
    lists = reverse("admin:orders_webhook_changelist")
    for action, state in (("disable", "disabled"), ("enable", "active"), ("replay", "active")):
        operator.post(lists, {"action": f"{action}_selected", "_selected_action": str(row.pk)})
        assert now(row).state == state
    deliver()
    assert receiver.seqs() == dict.fromkeys(ids, STAGES * 2)
    told = list(Act.objects.order_by("pk").values_list("outcome", flat=True))
    assert told == ["Disabled.", "Enabled.", "Replayed after 0."]


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
