"""Webhooks at the API and in the admin: who may make, change, stop and enable them."""

import pytest
from django.urls import reverse

from orders.access.callers import Scope
from orders.models import Act, Webhook
from orders.stores import webhooks
from orders.stores.threads import aside
from tests.orders.accounts import account, bearer, rows_of_keys
from tests.orders.doors import delete, error_of, field_of, get, http, patch, post
from tests.orders.hooking import STAGES, deliver, hook, now, trade
from tests.orders.pages import list_of

HOOKS = "/api/webhooks"

pytestmark = pytest.mark.usefixtures("webhook_account")


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
        ({"url": f"https://bot.example.com/{'ü' * 200}"}, "url"),
        ({"url": f"https://{'ü' * 30}.example.com/{'x' * 446}"}, "url"),
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


async def test_a_webhook_for_every_account_is_changed_with_the_scope_that_made_it_alone(bench, monkeypatch):
    with rows_of_keys(monkeypatch):
        bob = await aside(account, "bob")
        admins, trades = [
            await aside(bearer, bob, scopes) for scopes in (set(Scope), {Scope.READ, Scope.TRADE, Scope.CANCEL})
        ]
        made = (await post({"url": "https://bot.example.com/", "all": True}, HOOKS, **admins)).json()["webhookId"]
        was = await aside(lambda: Webhook.objects.values().get())
        changes = (
            ("PATCH", "", {"url": "https://elsewhere.example.com/"}),
            ("PATCH", "", {"enabled": False}),
            ("POST", "/rotate", None),
            ("POST", "/replay", {"after": "0"}),
            ("DELETE", "", None),
        )
        async with http() as client:
            for method, path, body in changes:
                answer = await client.request(method, f"{HOOKS}/{made}{path}", json=body, headers=trades)
                assert (answer.status_code, error_of(answer)["code"]) == (403, "forbidden"), (method, path)
                assert "admin" in error_of(answer)["message"]
            assert await aside(lambda: Webhook.objects.values().get()) == was
            for method, path, body in changes:
                answer = await client.request(method, f"{HOOKS}/{made}{path}", json=body, headers=admins)
                assert answer.status_code == 200, answer.text
    told = await aside(lambda: list(Act.objects.order_by("pk").values_list("what", "subject")))
    acts = ["make", "change", "change", "rotate", "replay", "delete"]
    assert told == [(f"{act} webhook", made) for act in acts]


async def test_what_an_operator_stopped_its_owner_cannot_start_again(bench):
    made = (await post({"url": "https://bot.example.com/events"}, HOOKS)).json()["webhookId"]
    place, rows = f"{HOOKS}/{made}", Webhook.objects.filter(pk=made)
    await aside(webhooks.stop, rows, "ann", "it floods us")
    shown = (await get(place)).json()
    assert (shown["state"], shown["lastError"]) == ("stopped", "stopped by the operator ann: it floods us")
    refused = [
        await patch(place, {"enabled": True}),
        await patch(place, {"enabled": False}),
        await patch(place, {"url": "https://new.example.com/"}),
        await delete(place),
        await post({"url": "https://BOT.example.com:8443/other"}, HOOKS),
        await post({"url": "https://bot.example.com./events"}, HOOKS),
    ]
    for answer in refused:
        assert (answer.status_code, error_of(answer)["code"]) == (403, "forbidden")
        assert "ann: it floods us" in error_of(answer)["message"]
    assert (await get(HOOKS)).json() == {"results": [shown]}
    # Which keeps what leaked from signing, and starts nothing.
    assert (await post(None, f"{place}/rotate")).json()["state"] == "stopped"
    assert (await post({"after": "0"}, f"{place}/replay")).json()["state"] == "stopped"
    await aside(webhooks.lift, rows)
    assert (await patch(place, {"enabled": False})).json()["state"] == "disabled"
    assert (await delete(place)).status_code == 200


async def test_events_of_every_account_are_for_an_operators_key_and_on_record(bench, monkeypatch):
    with rows_of_keys(monkeypatch):
        for scopes, status in (({Scope.TRADE}, 403), ({Scope.TRADE, Scope.ADMIN}, 201)):
            header = await aside(lambda scopes=scopes: bearer(account("bob"), scopes))
            answer = await post({"url": "https://bot.example.com/", "all": True}, HOOKS, **header)
            assert answer.status_code == status, answer.text
    assert await aside(lambda: list(Act.objects.values_list("what", flat=True))) == ["make webhook"]


def test_an_operator_stops_enables_and_replays_in_the_admin_and_it_is_on_record(bench, receiver, operator):
    row = hook(receiver.url)
    ids = trade(bench)
    assert "active" in list_of(operator, Webhook)
    deliver()
    lists = reverse("admin:orders_webhook_changelist")
    for action, why, state in (
        *(("stop", "", "active"), ("stop", "too much", "stopped")),
        *(("enable", "", "active"), ("replay", "", "active")),
    ):
        operator.post(lists, {"action": f"{action}_selected", "_selected_action": str(row.pk), "reason": why})
        assert now(row).state == state
        assert row.last_error == ("stopped by the operator ops: too much" if state == "stopped" else "")
    deliver()
    assert receiver.seqs() == dict.fromkeys(ids, STAGES * 2)
    told = list(Act.objects.order_by("pk").values_list("outcome", flat=True))
    assert told == ["Stopped.", "Enabled.", "Replayed after 0."]
