"""Who may do what: every address and every socket, by who asks.

The addresses come from the URL list and the sockets from the ASGI application, so that a new one must be judged here.
"""

import asyncio
import json
import re
from dataclasses import replace
from uuid import UUID, uuid4

import httpx
import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session
from django.db import IntegrityError
from django.test import Client
from django.urls import URLResolver, get_resolver
from rest_framework.views import APIView

from config import values
from config.asgi import application, sockets
from orders import models
from orders.access import keys
from orders.access.callers import Scope
from orders.api.open_views import Open
from orders.flow.intake import NewOrder
from orders.operations import retention
from orders.sockets import doorkeeper as watching
from orders.sockets import handshake
from orders.stores.threads import aside
from tests.orders.accounts import EVERY_SCOPE, account, bad_headers, bearer, row_of, rows_of_keys
from tests.orders.doors import HOST, LIMIT, NOBODY, ORDER, WITHIN_S

ORDER_ID = "{order_id}"
NAME = "{client_order_id}"
HOOK = "{webhook_id}"
NAMED: dict[str, str] = {}
"""The client order ids of the orders that rest, by their ids."""
HOOKED: dict[str, str] = {}
"""The webhooks of whoever placed an order that rests, by the order's id."""
BODIES = {
    ("api/orders/execute", "POST"): ORDER,
    ("api/orders/estimate", "POST"): ORDER,
    ("api/orders/batch", "POST"): {"orders": [ORDER]},
    (f"api/orders/{ORDER_ID}", "PATCH"): {"amount": "2"},
    ("api/webhooks", "POST"): {"url": "https://receiver.example.com/events"},
    (f"api/webhooks/{HOOK}", "PATCH"): {"enabled": False},
    (f"api/webhooks/{HOOK}/replay", "POST"): {"after": "0"},
}
QUERIES = {("api/orders", "DELETE"): "?pair=SOL-USDC", ("api/candles/SOL-USDC", "GET"): "?interval=1m"}
HEADERS = {(f"api/orders/{ORDER_ID}", "PATCH"): {"if-match": '"1"'}}
SCOPES = {"GET": Scope.READ, "POST": Scope.TRADE, "PATCH": Scope.TRADE, "DELETE": Scope.CANCEL}
OTHER_SCOPES = {("api/orders/estimate", "POST"): Scope.READ, ("api/tickets", "POST"): None}
OTHER_SCOPES[f"api/webhooks/{HOOK}", "DELETE"] = Scope.TRADE
OPEN = {
    *("metrics", "api/schema", "api/schema/", "api/docs/", "api/redoc/", "healthz", "readyz"),
    *("api/asyncapi", "api/docs/ws/", "login/"),
}
"""What anyone may ask."""
PAGES = {"": "/login/", "logout/": "/login/"}
"""Pages of people who have logged in, and where others are sent."""
LINK = "enter/{ticket}"
"""Opens with a ticket alone."""


def addresses(patterns, before=""):
    """Yield every address but the admin's own, whose permissions are Django's, with its view."""
    for one in patterns:
        path = before + re.sub(r"<\w+:(\w+)>", r"{\1}", str(one.pattern))
        if isinstance(one, URLResolver) and path != "admin/":
            yield from addresses(one.url_patterns, path)
        elif not isinstance(one, URLResolver):
            yield path.replace("{pair}", "SOL-USDC"), one.callback


KNOWN = dict(addresses(get_resolver().url_patterns))
GUARDED = [
    (path, method)
    for path, view in KNOWN.items()
    if issubclass(getattr(view, "view_class", type), APIView) and not issubclass(view.view_class, Open)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    if hasattr(view.view_class, method.lower())
]
ROUTES = [str(route.pattern.regex.pattern) for route in sockets.application.routes]
ANSWERED = {
    r"^ws/quotes/(?P<pair>[^/]+)/?$": "/ws/quotes/SOL-USDC",
    r"^ws/orders/?$": "/ws/orders",
    r"^ws/(?P<order_id>[^/]+)/?$": f"/ws/{ORDER_ID}",
    r"^api/orders/execute/?$": "/api/orders/execute",
}
TRADES = "/api/orders/execute"


@pytest.fixture(autouse=True)
def keys_in_rows(bench, monkeypatch):
    bench.quote_all()
    with rows_of_keys(monkeypatch):
        yield


async def ask(path, method, headers, order_id=""):
    """Ask an address for something that its right caller gets."""
    transport = httpx.ASGITransport(app=application)
    url = f"/{path}{QUERIES.get((path, method), '')}"
    for what, value in ((ORDER_ID, order_id), (NAME, NAMED.get(order_id, "")), (HOOK, HOOKED.get(order_id, ""))):
        url = url.replace(what, value)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        more = {**HEADERS.get((path, method), {}), **headers}
        return await client.request(method, url, json=BODIES.get((path, method)), headers=more)


async def resting(header):
    """Place an order that rests, and make a webhook; return the order's id."""
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        name = str(uuid4())
        asked = LIMIT | {"limitPrice": "900", "clientOrderId": name}
        answer = await client.post("/api/orders/execute", json=asked, headers=header)
        hook = await client.post("/api/webhooks", json=BODIES["api/webhooks", "POST"], headers=header)
    assert (answer.status_code, hook.status_code) == (202, 201), (answer.text, hook.text)
    HOOKED[answer.json()["orderId"]] = hook.json()["webhookId"]
    NAMED[answer.json()["orderId"]] = name
    return answer.json()["orderId"]


async def outcome(path, header, **more):
    """Open a socket; return the code with which it is closed, None if it goes on."""
    wire = [(name.encode(), value.encode()) for name, value in header.items()]
    socket = WebsocketCommunicator(application, path, headers=[*HOST, *wire], **more)
    accepted, _ = await socket.connect(timeout=WITHIN_S)
    assert accepted
    try:
        while not await socket.receive_nothing(timeout=0.5):
            message = await socket.receive_output(timeout=WITHIN_S)
            if message["type"] == "websocket.close":
                return message["code"]
        return None
    finally:
        await socket.disconnect(timeout=WITHIN_S)


def test_every_address_is_judged():
    others = {path for path in KNOWN if path not in {path for path, _ in GUARDED}}
    assert others == OPEN | PAGES.keys() | {LINK}
    assert {path for path, _ in GUARDED} >= {"api/orders", f"api/orders/{ORDER_ID}", "api/orders/execute"}


def test_every_socket_is_judged():
    assert set(ROUTES) - {""} == ANSWERED.keys()


@pytest.mark.parametrize("path", sorted(OPEN))
async def test_what_is_open_is_answered_without_a_key_and_with_a_bad_one(path):
    for headers in ({}, {"authorization": "Bearer oek_abcdefgh_never-made"}):
        assert (await ask(path, "GET", headers)).status_code in (200, 503)


@pytest.mark.parametrize(("path", "to"), PAGES.items())
async def test_pages_send_strangers_to_the_login(path, to):
    answer = await ask(path, "GET", {})
    assert answer.status_code in (302, 405) and answer.headers.get("location", to).startswith(to)


@pytest.mark.parametrize(("path", "method"), GUARDED, ids=lambda one: one)
async def test_nobody_gets_in_without_a_key_that_holds(path, method):
    owner = await aside(account, "alice")
    order_id = await resting(await aside(bearer, owner))
    for wrong, header in (await aside(bad_headers, owner)).items():
        answer = await ask(path, method, header, order_id)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized"), wrong
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("path", "method"), GUARDED, ids=lambda one: one)
async def test_a_key_does_what_its_scope_says_and_no_more(path, method):
    owner = await aside(account, "alice")
    order_id = await resting(await aside(bearer, owner))
    needed = OTHER_SCOPES.get((path, method), SCOPES[method])
    others = EVERY_SCOPE - {needed}
    answer = await ask(path, method, await aside(bearer, owner, others), order_id)
    if needed is None:
        assert answer.status_code < 300, answer.text
        return
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), answer.text
    assert needed in answer.json()["error"]["message"]
    answer = await ask(path, method, await aside(bearer, owner, {needed}), order_id)
    assert answer.status_code < 300, answer.text


@pytest.mark.parametrize(("path", "method"), [one for one in GUARDED if ORDER_ID in one[0]], ids=lambda one: one)
async def test_an_order_does_not_exist_for_another_account_but_for_an_operator(path, method):
    order_id = await resting(await aside(bearer, await aside(account, "alice")))
    nobody = await ask(path, method, await aside(bearer, await aside(account, "bob")), order_id)
    missing = await ask(
        path, method, await aside(bearer, await aside(account, "bob")), "5f0e8d0c-3c1f-4a59-9a0e-6d3b7c1d2e4f"
    )
    assert nobody.status_code == missing.status_code == 404
    assert nobody.text.replace(order_id, "") == missing.text.replace(NOBODY, "")
    operator = await aside(bearer, await aside(account, "carol"), EVERY_SCOPE)
    assert (await ask(path, method, operator, order_id)).status_code == 200


async def test_lists_and_cancellations_are_of_ones_own_orders():
    alice = await aside(bearer, await aside(account, "alice"))
    bob = await aside(bearer, await aside(account, "bob"))
    hers, his = await resting(alice), await resting(bob)
    for header, its in ((alice, {hers}), (bob, {his})):
        listed = (await ask("api/orders", "GET", header)).json()["results"]
        assert {one["orderId"] for one in listed} == its
    assert (await ask("api/orders", "DELETE", bob)).json()["cancelled"] == 1
    assert (await ask(f"api/orders/{ORDER_ID}", "GET", alice, hers)).json()["status"] == "pending"
    assert (await ask(f"api/orders/{ORDER_ID}", "GET", bob, his)).json()["status"] == "cancelled"


async def test_two_accounts_use_one_client_order_id_each_for_itself():
    alice = await aside(bearer, await aside(account, "alice"))
    bob = await aside(bearer, await aside(account, "bob"))
    named = {"idempotency-key": "rebalance-1"}
    first, second = [await ask("api/orders/execute", "POST", one | named) for one in (alice, bob)]
    again = await ask("api/orders/execute", "POST", alice | named)
    assert first.status_code == second.status_code == again.status_code == 202
    assert first.json()["orderId"] == again.json()["orderId"] != second.json()["orderId"]


@pytest.mark.parametrize("path", ANSWERED.values())
async def test_a_socket_closes_for_who_is_unknown_or_may_not(path, monkeypatch):
    monkeypatch.setattr(handshake, "TICKET_WITHIN_S", 0.05)
    owner = await aside(account, "alice")
    path = path.replace(ORDER_ID, await resting(await aside(bearer, owner)))
    for wrong, header in (await aside(bad_headers, owner)).items():
        assert await outcome(path, header) == 4401, wrong
    needed = Scope.TRADE if path == TRADES else Scope.READ
    assert await outcome(path, await aside(bearer, owner, EVERY_SCOPE - {needed})) == 4403
    assert await outcome(path, await aside(bearer, owner, {needed})) is None


async def test_another_accounts_order_is_streamed_to_nobody_but_an_operator():
    order_id = await resting(await aside(bearer, await aside(account, "alice")))
    assert await outcome(f"/ws/{order_id}", await aside(bearer, await aside(account, "bob"))) == 4404
    operator = await aside(bearer, await aside(account, "carol"), EVERY_SCOPE)
    assert await outcome(f"/ws/{order_id}", operator) is None


async def test_a_socket_for_many_says_of_anothers_order_what_it_says_of_none():
    order_id = await resting(await aside(bearer, await aside(account, "alice")))
    header = await aside(bearer, await aside(account, "bob"))
    wire = [(b"authorization", header["authorization"].encode())]
    socket = WebsocketCommunicator(application, "/ws/orders", headers=[*HOST, *wire])
    await socket.connect(timeout=WITHIN_S)
    await socket.send_json_to({"follow": [{"orderId": order_id}]})
    heard = [await socket.receive_json_from(timeout=WITHIN_S) for _ in range(2)]
    assert {"not_found"} == {one["error"]["code"] for one in heard if "error" in one}
    await socket.disconnect(timeout=WITHIN_S)


async def test_a_ticket_opens_one_socket_once_by_message_and_by_subprotocol():
    order_id = await resting(await aside(bearer, await aside(account, "alice")))
    alice = await aside(bearer, await aside(account, "alice"))
    told, offered = [(await ask("api/tickets", "POST", alice)).json()["ticket"] for _ in range(2)]
    assert await outcome(f"/ws/{order_id}", {}, subprotocols=["engine", f"ticket.{offered}"]) is None
    assert await outcome(f"/ws/{order_id}", {}, subprotocols=["engine", f"ticket.{offered}"]) == 4401
    for expected in ("pending", "unauthorized"):
        socket = WebsocketCommunicator(application, f"/ws/{order_id}", headers=HOST)
        await socket.connect(timeout=WITHIN_S)
        await socket.send_json_to({"ticket": told})
        heard = await socket.receive_json_from(timeout=WITHIN_S)
        assert heard.get("status", heard.get("error", {}).get("code")) == expected
        await socket.disconnect(timeout=WITHIN_S)


async def test_racing_for_one_ticket_one_wins():
    order_id = await resting(await aside(bearer, await aside(account, "alice")))
    ticket = (await ask("api/tickets", "POST", await aside(bearer, await aside(account, "alice")))).json()["ticket"]
    offers = ["engine", f"ticket.{ticket}"]
    codes = await asyncio.gather(*(outcome(f"/ws/{order_id}", {}, subprotocols=offers) for _ in range(8)))
    assert sorted(codes, key=str) == [4401] * 7 + [None]


@pytest.mark.parametrize("archived", [False, True], ids=["hot", "archived"])
async def test_an_order_older_than_accounts_is_not_placed_again_by_the_key_its_client_now_has(bench, archived):
    alice = await aside(bearer, await aside(account, "alice"))
    named = {"idempotency-key": "rebalance-1"}
    order_id = (await ask("api/orders/execute", "POST", alice | named)).json()["orderId"]

    def make_old():
        models.Order.objects.filter(pk=order_id).update(owner=None)
        if archived:
            bench.run([order_id])
            models.Order.objects.update(status="confirmed", updated_at="2020-01-01T00:00:00Z")
            assert retention.take([UUID(order_id)]) is not None
            assert models.ArchivedOrder.objects.get().owner_id is None

    await aside(make_old)
    again = await ask("api/orders/execute", "POST", alice | named)
    assert (again.status_code, again.json()["orderId"]) == (202, order_id)
    assert await aside(models.Order.objects.count) == (0 if archived else 1)


async def test_anothers_use_of_a_name_hides_ones_own_archived_order_from_nobody(bench):
    alice, bob = [await aside(bearer, await aside(account, name)) for name in ("alice", "bob")]
    named = {"idempotency-key": "rebalance-1"}
    hers = (await ask("api/orders/execute", "POST", alice | named)).json()["orderId"]

    def retire():
        bench.run([hers])
        models.Order.objects.update(status="confirmed", updated_at="2020-01-01T00:00:00Z")
        retention.take([UUID(hers)])

    await aside(retire)
    assert (await ask("api/orders/execute", "POST", bob | named)).status_code == 202
    again = await ask("api/orders/execute", "POST", alice | named)
    assert (again.status_code, again.json()["orderId"]) == (202, hers)


@pytest.mark.parametrize("first", [None, "alice"], ids=["older version first", "this version first"])
def test_a_name_that_one_version_has_used_is_not_used_again_by_the_other(bench, first):
    owner = account("alice").pk
    mine = None if first is None else owner
    bench.accept(NewOrder(replace(bench.order(client_order_id="one").order, owner=mine)))
    theirs = owner if first is None else None
    with pytest.raises(IntegrityError, match="names an order of another version"):
        models.Order.objects.create(
            id=uuid4(),
            type="market",
            pair="SOL-USDC",
            amount_in=1,
            slippage_bps=1,
            client_order_id="one",
            owner_id=theirs,
        )


async def test_a_ticket_of_a_key_that_has_ended_opens_nothing_and_has_the_keys_limits(bench):
    header = await aside(lambda: bearer(account("alice"), orders_per_minute=1))
    first, second, third = [(await ask("api/tickets", "POST", header)).json()["ticket"] for _ in range(3)]

    async def placed(ticket):
        socket = WebsocketCommunicator(application, TRADES, headers=HOST, subprotocols=["engine", f"ticket.{ticket}"])
        await socket.connect(timeout=WITHIN_S)
        if await socket.receive_nothing(timeout=0.2):
            await socket.send_json_to(ORDER)
        heard = await socket.receive_json_from(timeout=WITHIN_S)
        await socket.disconnect(timeout=WITHIN_S)
        return heard.get("status") or heard["error"]["code"]

    assert [await placed(first), await placed(second)] == ["pending", "rate_limited"]
    await aside(lambda: keys.revoke([row_of(header)], "test"))
    assert await placed(third) == "unauthorized"
    assert await aside(models.Order.objects.count) == 1


async def test_a_socket_that_sent_its_ticket_as_a_message_stays_open(bench, monkeypatch):
    monkeypatch.setattr(handshake, "TICKET_WITHIN_S", 0.3)
    header = await aside(bearer, await aside(account, "alice"))
    ticket = (await ask("api/tickets", "POST", header)).json()["ticket"]
    socket = WebsocketCommunicator(application, "/ws/orders", headers=HOST)
    await socket.connect(timeout=WITHIN_S)
    await socket.send_json_to({"ticket": ticket})
    assert await socket.receive_nothing(timeout=0.6)
    await socket.send_json_to({"follow": []})
    assert await socket.receive_json_from(timeout=WITHIN_S) == {"following": 0}
    await socket.disconnect(timeout=WITHIN_S)


@pytest.mark.parametrize("ticket", ["\ud800", "x", ""])
async def test_a_ticket_that_is_none_is_refused(bench, ticket):
    socket = WebsocketCommunicator(application, "/ws/orders", headers=HOST)
    await socket.connect(timeout=WITHIN_S)
    await socket.send_to(text_data=json.dumps({"ticket": ticket}))
    assert (await socket.receive_json_from(timeout=WITHIN_S))["error"]["code"] == "unauthorized"
    assert (await socket.receive_output(timeout=WITHIN_S))["code"] == 4401


def closes(person):
    type(person).objects.filter(pk=person.pk).update(is_active=False)


def logs_out(person):
    Session.objects.all().delete()


def loses_a_right(person):
    type(person).objects.filter(pk=person.pk).update(is_staff=True)


@pytest.mark.parametrize("ends", [closes, logs_out, loses_a_right])
async def test_the_sockets_of_a_session_close_when_it_holds_no_more(bench, ends, monkeypatch):
    monkeypatch.setattr(watching, "EVERY_S", 0.02)
    person, browser = await aside(account, "alice"), Client()
    await aside(browser.force_login, person)
    cookie = (b"cookie", f"engine_session={browser.cookies['engine_session'].value}".encode())
    origin = (b"origin", b"http://localhost")
    socket = WebsocketCommunicator(application, "/ws/orders", headers=[*HOST, cookie, origin])
    await socket.connect(timeout=WITHIN_S)
    await socket.send_json_to({"follow": []})
    assert await socket.receive_json_from(timeout=WITHIN_S) == {"following": 0}
    await aside(ends, person)
    assert (await socket.receive_json_from(timeout=WITHIN_S))["error"]["code"] == "unauthorized"
    assert (await socket.receive_output(timeout=WITHIN_S))["code"] == 4401


async def test_a_session_is_worth_nothing_on_a_page_that_is_only_allowed(bench, settings, monkeypatch):
    monkeypatch.setattr(handshake, "TICKET_WITHIN_S", 0.05)
    settings.ALLOWED_ORIGINS = (values.origin("https://desk.example.com"),)
    browser = Client()
    await aside(browser.force_login, await aside(account, "alice"))
    cookie = (b"cookie", f"engine_session={browser.cookies['engine_session'].value}".encode())
    origin = (b"origin", b"https://desk.example.com")
    socket = WebsocketCommunicator(application, "/ws/orders", headers=[*HOST, cookie, origin])
    await socket.connect(timeout=WITHIN_S)
    assert (await socket.receive_json_from(timeout=WITHIN_S))["error"]["code"] == "unauthorized"


async def test_a_head_request_needs_the_scope_of_its_get(bench):
    order_id = await resting(await aside(bearer, await aside(account, "alice")))
    header = await aside(bearer, await aside(account, "alice"), {Scope.TRADE})
    assert (await ask(f"api/orders/{ORDER_ID}", "HEAD", header, order_id)).status_code == 403
