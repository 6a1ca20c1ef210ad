"""API keys: what is kept of them, how they end, and how soon."""

import re
import time
from datetime import timedelta

import pytest
from channels.testing import WebsocketCommunicator
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError
from django.utils import timezone

from config.asgi import application
from orders.access import keys
from orders.access.callers import TRADER, Caller, Scope, Unauthorized, of_user
from orders.models import Act, ApiKey, Webhook
from orders.stores import webhooks
from orders.stores.threads import Late, aside
from tests.orders.accounts import account, bearer, row_of, rows_of_keys
from tests.orders.doors import HOST, WITHIN_S, until


@pytest.fixture(autouse=True)
def keys_in_rows(bench, monkeypatch):
    with rows_of_keys(monkeypatch):
        yield


TOKEN = re.compile(r"oek_[a-z2-9]{8}_[A-Za-z0-9_-]{43}")


def token_of(header):
    return header["authorization"].removeprefix("Bearer ")


def test_nothing_that_is_kept_is_the_key():
    token = token_of(bearer(account("alice")))
    assert len(token) >= 43 and token.startswith("oek_")
    row = ApiKey.objects.get()
    kept = " ".join(str(bytes(value) if isinstance(value, memoryview) else value) for value in vars(row).values())
    assert token not in kept and token.split("_", 2)[2] not in kept


def test_without_the_pepper_a_digest_is_worth_nothing(monkeypatch):
    token = token_of(bearer(account("alice")))
    monkeypatch.setattr(keys, "pepper", lambda: b"another")
    with pytest.raises(Unauthorized):
        keys.keys().caller(token)


def test_a_key_stands_for_its_owner_with_its_scopes():
    alice = account("alice")
    header = bearer(alice, {Scope.READ})
    found = keys.caller(header["authorization"])
    assert (found.owner, found.scopes, found.key) == (alice.pk, {Scope.READ}, ApiKey.objects.get().pk)


def test_a_key_ends_when_it_is_revoked_when_its_time_is_over_and_with_its_account():
    alice = account("alice")
    revoked, timed, orphan = bearer(alice), bearer(alice), bearer(account("bob"))
    assert all(keys.keys().caller(token_of(one)) for one in (revoked, timed, orphan))
    keys.revoke([row_of(revoked)], "test")
    ApiKey.objects.filter(pk=row_of(timed).pk).update(expires_at=timezone.now())
    account("bob").__class__.objects.filter(username="bob").update(is_active=False)
    keys.keys.forget()
    for one in (revoked, timed, orphan):
        with pytest.raises(Unauthorized):
            keys.keys().caller(token_of(one))


def test_a_key_ends_on_time_within_one_reading_of_the_table():
    soon = timezone.now() + timedelta(milliseconds=300)
    token = token_of(bearer(account("alice"), expires_at=soon))
    table = keys.keys()
    assert table.caller(token)
    deadline = time.monotonic() + 10
    while table.callers[keys.digest(token)].expires > time.time():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(Unauthorized):
        table.caller(token)


def test_a_table_too_old_accepts_nobody(monkeypatch):
    token = token_of(bearer(account("alice")))
    old = keys.Table(keys.keys().callers, time.monotonic() - keys.STALE_S - 1)
    with pytest.raises(Late):
        old.caller(token)


def test_while_postgres_is_away_known_keys_hold(monkeypatch):
    token = token_of(bearer(account("alice")))
    assert keys.keys().caller(token)

    def away():
        raise OperationalError("the database is shutting down")

    monkeypatch.setattr(keys.keys, "read", away)
    keys.keys.forget()
    assert keys.keys().caller(token)


def test_a_rotated_key_goes_on_for_the_overlap_and_the_new_one_has_its_scopes():
    old = bearer(account("alice"), {Scope.READ})
    made, token = keys.rotate(row_of(old), 60, "test")
    assert made.scopes == ["read"]
    table = keys.keys()
    assert table.caller(token) and table.caller(token_of(old))
    left = row_of(old).expires_at - timezone.now()
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)


def test_the_time_of_last_use_is_kept():
    keys.caller(bearer(account("alice"))["authorization"])
    keys.written_at = 0.0
    keys.keys.forget()
    keys.keys()
    assert ApiKey.objects.get().last_used_at is not None


def test_a_revoked_key_is_refused_at_once_where_the_change_was_announced():
    header = bearer(account("alice"))
    assert keys.keys().caller(token_of(header))
    keys.revoke([row_of(header)], "test")
    # In this process; others hear of it, or read the table again a second later.
    assert not keys.keys.is_recent


async def test_the_sockets_of_a_revoked_key_close_and_no_others():
    mine, others = await aside(bearer, await aside(account, "alice")), await aside(bearer, await aside(account, "bob"))
    sockets = []
    for header in (mine, others):
        wire = [(b"authorization", header["authorization"].encode())]
        socket = WebsocketCommunicator(application, "/ws/orders", headers=[*HOST, *wire])
        await socket.connect(timeout=WITHIN_S)
        sockets.append(socket)
    await aside(lambda: keys.revoke([row_of(mine)], "test"))
    assert (await sockets[0].receive_json_from(timeout=WITHIN_S))["error"]["code"] == "unauthorized"
    closed = await sockets[0].receive_output(timeout=WITHIN_S)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4401)
    await sockets[1].send_json_to({"follow": []})
    assert await sockets[1].receive_json_from(timeout=WITHIN_S) == {"following": 0}
    for socket in sockets:
        await socket.disconnect(timeout=WITHIN_S)


async def test_a_socket_that_is_gone_is_watched_no_more():
    from orders.sockets.doorkeeper import doorkeeper

    header = await aside(bearer, await aside(account, "alice"))
    wire = [(b"authorization", header["authorization"].encode())]
    socket = WebsocketCommunicator(application, "/ws/orders", headers=[*HOST, *wire])
    await socket.connect(timeout=WITHIN_S)
    assert len(doorkeeper().open) == 1
    await socket.disconnect(timeout=WITHIN_S)
    await until(lambda: not doorkeeper().open, "the socket is let go")


def test_the_command_makes_lists_rotates_and_revokes(capsys):
    account("alice")
    call_command("apikeys", "create", "reporting", "--owner", "alice", "--scopes", "read", "--orders-per-minute", "90")
    token = capsys.readouterr().out.strip()
    assert keys.keys().caller(token).scopes == {Scope.READ}
    prefix = token.split("_")[1]
    call_command("apikeys", "rotate", prefix, "--overlap", "0")
    second = capsys.readouterr().out.strip()
    call_command("apikeys", "list")
    listed = capsys.readouterr().out
    assert second.split("_")[1] in listed and prefix not in listed and second not in listed
    assert "per minute  may rest" in listed and "90          10,000" in listed
    hook = webhooks.make(account("alice").pk, "https://hooks.example/in", all_accounts=False, most=1)
    webhooks.make(account("bob").pk, "https://bob.example/in", all_accounts=False, most=1)
    call_command("apikeys", "revoke", second.split("_")[1])
    said = capsys.readouterr().out
    assert "Events still go to https://hooks.example/in (alice); stop those" in said and "bob" not in said
    webhooks.switch(Webhook.objects.filter(pk=hook.pk), on=False)
    call_command("apikeys", "revoke", second.split("_")[1])
    assert "Events still go to" not in capsys.readouterr().out
    keys.keys.forget()
    for one in (token, second):
        with pytest.raises(Unauthorized):
            keys.keys().caller(one)
    capsys.readouterr()
    call_command("apikeys", "list", "--all")
    assert prefix in capsys.readouterr().out


def test_the_admin_shows_a_key_once_and_rotates_and_revokes_it(operator):
    alice, page = account("alice"), "/admin/orders/apikey/"
    form = {"name": "bot", "owner": alice.pk, "scopes": ["read"], "orders_per_minute": "5", "open_orders_max": "7"}
    made = operator.post(f"{page}add/", form)
    assert made.status_code == 200 and "no-store" in made.headers["cache-control"]
    (token,) = TOKEN.findall(made.content.decode())
    found = keys.caller(f"Bearer {token}")
    assert (found.owner, found.scopes, found.orders_per_minute, found.open_orders_max) == (alice.pk, {"read"}, 5, 7)
    row = ApiKey.objects.get()
    rotated = operator.post(page, {"action": "rotate_selected", "_selected_action": [row.pk]})
    (second,) = TOKEN.findall(rotated.content.decode())
    assert keys.caller(f"Bearer {second}").scopes == {"read"} and second != token
    webhooks.make(alice.pk, "https://hooks.example/in", all_accounts=False, most=1)
    revoked = operator.post(page, {"action": "revoke_selected", "_selected_action": [row.pk]}, follow=True)
    assert "Revoked: bot" in revoked.content.decode()
    assert "Events still go to https://hooks.example/in (alice)" in revoked.content.decode()
    for secret in (token, second):
        assert secret not in operator.get(page).content.decode()
    with pytest.raises(Unauthorized):
        keys.caller(f"Bearer {token}")
    again = operator.post(page, {"action": "rotate_selected", "_selected_action": [row.pk]})
    assert TOKEN.findall(again.content.decode()) == []
    assert Act.objects.count() == 3


@pytest.mark.parametrize("words", [("create", "x", "--owner", "nobody"), ("revoke", "nokey"), ("rotate", "nokey")])
def test_the_command_says_what_is_not_there(words):
    with pytest.raises(CommandError, match="there is no"):
        call_command("apikeys", *words)


def test_a_person_trades_and_staff_only_as_far_as_the_admin_lets_them():
    assert of_user(account("alice")).scopes == TRADER
    assert of_user(account("viewer", is_staff=True)).scopes == {Scope.READ}
    assert of_user(account("root", is_staff=True, is_superuser=True)).scopes == frozenset(Scope)


def test_no_scope_includes_another():
    admin = Caller(1, "x", frozenset({Scope.ADMIN}))
    assert admin.sees(2) and admin.sees(None)
    for scope in TRADER:
        with pytest.raises(Exception, match=f"needs the scope {scope}"):
            admin.require(scope)
    assert not Caller(1, "x", TRADER).sees(None)
