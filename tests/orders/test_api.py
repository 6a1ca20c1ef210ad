"""The HTTP door, from the outside."""

import asyncio
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest
import structlog
from django.db import OperationalError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import asgi
from engine.lifecycle import Status
from orders import models
from orders.api import health, views
from orders.api.http import respond
from orders.flow import dispatch, intake
from orders.operations import heartbeats
from orders.stores import live, placing
from orders.stores.ids import first_at
from orders.stores.threads import aside
from routing.catalogue import catalogue
from routing.store import StoreError, redis
from tests.factories import OrderFactory
from tests.orders.bench import TOKENS
from tests.orders.doors import ORDER, get, http, post

NOBODY = "5f0e8d0c-3c1f-4a59-9a0e-6d3b7c1d2e4f"
"""The id of no order; written out, so that every test process collects the same tests."""

STAGES = ["pending", "routing", "building", "submitted", "confirmed"]


def error_of(answer):
    """Return the error of an answer, checked for the one shape."""
    assert answer.headers["content-type"].startswith("application/json")
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "fields"}
    for field in error["fields"]:
        assert set(field) == {"field", "value", "message", "accepted"}
    return error


def field_of(answer):
    """Return the one field an answer complains about."""
    (field,) = error_of(answer)["fields"]
    return field


# Placing


async def test_an_order_is_answered_with_202_and_where_to_go_on(bench):
    answer = await post(ORDER)
    assert answer.status_code == 202
    accepted = answer.json()
    order_id = accepted["orderId"]
    assert set(accepted) == {"orderId", "status", "createdAt", "links"}
    assert accepted["status"] == "pending"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(accepted["createdAt"])) < timedelta(minutes=1)
    assert accepted["links"] == {
        "self": f"http://localhost/api/orders/{order_id}",
        "events": f"http://localhost/api/orders/{order_id}/events",
        "ws": f"ws://localhost/ws/{order_id}",
    }
    assert (await aside(bench.row, order_id)).amount_in == 1_500_000_000
    assert bench.messages("order") == 1


@pytest.mark.parametrize("amount", ['"1.5"', "1.5", '"1.50"', "15e-1", '"1.5e0"', '"+1.5"', '"01.5"'])
async def test_an_amount_may_be_a_string_or_a_number(bench, amount):
    body = json.dumps(ORDER).replace('"1.5"', amount).encode()
    answer = await post(body)
    assert answer.status_code == 202, answer.text
    assert (await aside(bench.row, answer.json()["orderId"])).amount_in == 1_500_000_000


async def test_a_number_is_read_as_it_is_written_and_never_as_a_float(bench):
    answer = await post(b'{"type":"market","tokenIn":"SOL","tokenOut":"USDC","amount":9007199254.740993123}')
    assert (await aside(bench.row, answer.json()["orderId"])).amount_in == 9007199254740993123


async def test_tokens_may_be_named_by_mint(bench):
    by_mint = await post(ORDER | {"tokenIn": TOKENS["SOL"].mint, "tokenOut": TOKENS["USDC"].mint})
    assert (await aside(bench.row, by_mint.json()["orderId"])).pair == "SOL-USDC"


async def test_without_slippage_an_order_gets_the_default(bench):
    assert (await aside(bench.row, (await post(ORDER)).json()["orderId"])).slippage_bps == 50


# Refusing

DEEP = json.loads("[" * 12 + "]" * 12)
WRONG = [
    ("type", {"type": "limitless"}),
    ("type", {"type": None}),
    ("type", {"type": 7}),
    ("tokenIn", {"tokenIn": "DOGE"}),
    ("tokenIn", {"tokenIn": ""}),
    ("tokenIn", {"tokenIn": "sol"}),
    ("tokenIn", {"tokenIn": " SOL"}),
    ("tokenIn", {"tokenIn": "\ud800"}),
    ("tokenIn", {"tokenIn": "SOL\0"}),
    ("tokenIn", {"tokenIn": DEEP}),
    ("tokenOut", {"tokenOut": "SOL"}),
    ("tokenOut", {"tokenOut": TOKENS["SOL"].mint}),
    ("tokenOut", {"tokenOut": "JUP"}),
    ("tokenOut", {"tokenOut": True}),
    ("amount", {"amount": "0"}),
    ("amount", {"amount": -1}),
    ("amount", {"amount": "-0"}),
    ("amount", {"amount": "1.0000000001"}),
    ("amount", {"amount": "18446744073.709551616"}),
    ("amount", {"amount": "1e30"}),
    ("amount", {"amount": "1e-30"}),
    ("amount", {"amount": "1e999999"}),
    ("amount", {"amount": "9" * 5000}),
    ("amount", {"amount": "NaN"}),
    ("amount", {"amount": "Infinity"}),
    ("amount", {"amount": "1_0"}),
    ("amount", {"amount": "1,5"}),
    ("amount", {"amount": " 1"}),
    ("amount", {"amount": "\u0661"}),
    ("amount", {"amount": ""}),
    ("amount", {"amount": None}),
    ("amount", {"amount": True}),
    ("amount", {"amount": ["1"]}),
    ("amount", {"amount": {}}),
    ("slippageBps", {"slippageBps": -1}),
    ("slippageBps", {"slippageBps": 5001}),
    ("slippageBps", {"slippageBps": 50.5}),
    ("slippageBps", {"slippageBps": "50"}),
    ("slippageBps", {"slippageBps": True}),
    ("slippageBps", {"slippageBps": None}),
    ("slippageBps", {"slippageBps": [50]}),
    ("slippageBps", {"slippageBps": 10**99}),
    ("clientOrderId", {"clientOrderId": ""}),
    ("clientOrderId", {"clientOrderId": "a" * 65}),
    ("clientOrderId", {"clientOrderId": "a b"}),
    ("clientOrderId", {"clientOrderId": "a\n"}),
    ("clientOrderId", {"clientOrderId": None}),
    ("clientOrderId", {"clientOrderId": 7}),
    ("price", {"price": "150"}),
    ("\0", {"\0": 1}),
    ("?", {"\ud800": 1}),
]


@pytest.mark.parametrize(("name", "change"), WRONG, ids=[f"{ascii(c)[:50]}" for _, c in WRONG])
async def test_a_wrong_field_is_refused_by_name_with_its_value_and_what_is_accepted(bench, name, change):
    answer = await post(ORDER | change)
    assert answer.status_code == 400
    field = field_of(answer)
    assert field["field"] == name
    assert field["accepted"] and field["message"]
    (value,) = change.values()
    assert (field["value"] is None) == (value is None)
    if isinstance(value, str) and value.isprintable():
        assert field["value"] == value[:120]
    assert await aside(models.Order.objects.count) == 0


async def test_each_missing_field_is_named(bench):
    fields = error_of(await post({}))["fields"]
    assert {field["field"] for field in fields} == {"type", "tokenIn", "tokenOut", "amount"}
    assert {field["message"] for field in fields} == {"is missing"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": None}, "type is null"),
        ({"tokenIn": ""}, "tokenIn is empty"),
        ({"tokenIn": "SOL\0"}, "tokenIn is not a token this engine trades"),
        ({"amount": ""}, "amount is empty"),
        ({"amount": None}, "amount is null"),
        ({"slippageBps": -1}, "slippageBps must be at least 0"),
        ({"slippageBps": 5001}, "slippageBps must be at most 5000"),
        ({"clientOrderId": ""}, "clientOrderId is empty"),
    ],
)
async def test_a_refusal_reads_on_after_the_fields_name(bench, change, message):
    assert error_of(await post(ORDER | change))["message"] == message


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (b'"slippageBps":1.5', "1.5"),
        (b'"slippageBps":5001.0', "5001.0"),
        (b'"slippageBps":1e999999999', "1E+999999999"),
        (b'"slippageBps":true', "true"),
        (b'"slippageBps":[null, 1.50, {"a": false}]', '[null, 1.50, {"a": false}]'),
        (b'"clientOrderId":["\xc3\xa9"]', '["\u00e9"]'),
    ],
)
async def test_a_wrong_value_is_repeated_as_json_spells_it(bench, change, value):
    assert field_of(await post(json.dumps(ORDER).encode()[:-1] + b"," + change + b"}"))["value"] == value


async def test_for_a_pair_that_is_not_traded_the_tokens_that_can_be_bought_are_named(bench):
    field = field_of(await post(ORDER | {"tokenIn": "JUP", "tokenOut": "SOL"}))
    assert field["field"] == "tokenOut"
    bought = sorted(pair.token_out.symbol for pair in catalogue().active.values() if pair.token_in.symbol == "JUP")
    assert field["accepted"].endswith(f"; with JUP: {', '.join(bought)}")
    assert "SOL" not in bought and "USDC" in bought


@pytest.mark.parametrize("amount", ["0", -1])
async def test_an_amount_that_is_not_above_zero_is_named_beside_another_wrong_field(bench, amount):
    fields = error_of(await post(ORDER | {"amount": amount, "slippageBps": -1}))["fields"]
    assert {field["field"] for field in fields} == {"amount", "slippageBps"}


async def test_an_unknown_field_is_named_beside_a_wrong_one(bench):
    fields = error_of(await post(ORDER | {"amount": 0.0, "note": "x", "type": "x"}))["fields"]
    assert {field["field"] for field in fields} == {"type", "amount", "note"}


async def test_an_error_lists_no_more_than_twenty_fields(bench):
    answer = await post(ORDER | {f"f{n}": 0 for n in range(4000)})
    assert answer.status_code == 400
    assert len(error_of(answer)["fields"]) == 20
    assert len(answer.content) < 10_000


NOT_JSON = {
    "empty": b"",
    "words": b"market order please",
    "cut off": b'{"type":"market"',
    "array of 10 kB": b"[" * 5_000 + b"]" * 5_000,
    "deep in a field": b'{"amount":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "objects of 10 kB": b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    "NaN": b'{"amount":NaN}',
    "Infinity": b'{"amount":-Infinity}',
    "5000 digits": b'{"amount":' + b"9" * 5_000 + b"}",
    "an endless exponent": b'{"amount":1e99999999999999999999}',
    "twice": json.dumps(ORDER).encode()[:-1] + b',"amount":"2"}',
    "twice, escaped": json.dumps(ORDER).encode()[:-1] + b',"am\\u006funt":"2"}',
    "latin-1": '{"type":"é"}'.encode("latin-1"),
    "UTF-16": json.dumps(ORDER).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(ORDER).encode(),
    "a second value": json.dumps(ORDER).encode() + b"{}",
    "NUL after the end": json.dumps(ORDER).encode() + b"\0",
    "leading plus": b'{"type":"market","tokenIn":"SOL","tokenOut":"USDC","amount":+1}',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_what_is_not_json_is_refused(bench, body):
    answer = await post(body)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "not_json"
    assert await aside(models.Order.objects.count) == 0


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"true"])
async def test_json_that_is_no_object_is_refused(bench, body):
    answer = await post(body)
    assert answer.status_code == 400
    assert "object" in error_of(answer)["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", ""])
async def test_a_body_that_is_not_declared_as_json_is_refused(bench, kind):
    answer = await post(ORDER, **{"content-type": kind})
    assert answer.status_code == 415
    assert error_of(answer)["code"] == "unsupported_media_type"


async def test_a_body_over_64_kib_is_refused(bench):
    answer = await post(b" " * (64 * 1024) + json.dumps(ORDER).encode())
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "too_large"


async def test_a_chunked_body_is_refused_as_soon_as_it_is_over_64_kib(bench):
    sent = 0

    async def chunks():
        nonlocal sent
        while True:
            sent += 1024
            yield b" " * 1024

    async with http() as client:
        answer = await client.post(
            "/api/orders/execute", content=chunks(), headers={"content-type": "application/json"}
        )
    assert error_of(answer)["code"] == "too_large"
    assert sent <= 66 * 1024


async def test_half_an_order_from_a_client_that_left_is_not_an_order(bench):
    messages = [
        {"type": "http.request", "body": json.dumps(ORDER).encode(), "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "path": "/api/orders/execute", "method": "POST", "headers": headers, "scheme": "http"}
    await asgi.application(scope, receive, send)
    assert sent == []
    assert await aside(models.Order.objects.count) == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing/here", 404),
        ("GET", "/api", 404),
        ("GET", "/api/orders/not-an-id", 404),
        ("GET", f"/api/orders/{NOBODY}", 404),
        ("GET", f"/api/orders/{NOBODY}/events", 404),
        ("GET", "/api/orders/%00", 404),
        ("GET", "/api/orders/%F0%9F%92%A9/events", 404),
        ("GET", "/api/quotes/SOL-DOGE", 404),
        ("POST", "/api/orders/execute/", 404),
        ("GET", "/api/orders/execute", 405),
        ("PUT", "/api/orders/execute", 405),
        ("GET", "/api/orders/batch", 405),
        ("DELETE", "/api/orders/batch", 405),
        ("DELETE", "/api/orders", 400),
        ("DELETE", f"/api/orders/{NOBODY}", 404),
        ("PATCH", f"/api/orders/{NOBODY}", 404),
        ("DELETE", f"/api/orders/{NOBODY}?reason=x", 400),
        ("PATCH", f"/api/orders/{NOBODY}?seq=1", 400),
        ("POST", "/api/orders/batch?atomic=1", 400),
        ("PUT", f"/api/orders/{NOBODY}", 405),
        ("POST", "/api/pairs", 405),
        ("GET", "/api/orders?nonsense=1", 400),
        ("GET", "/api/pairs?x=1", 400),
        ("GET", "/api/orders?status=lost", 400),
    ],
)
async def test_every_refusal_has_the_one_error_shape(bench, method, path, status):
    async with http() as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert error_of(answer)["message"]


def test_the_root_is_the_desk_and_names_the_documentation(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert 'href="/api/docs/"' in answer.content.decode()


@pytest.mark.parametrize("address", ["/api/schema", "/api/schema/"])
def test_the_description_is_served_with_and_without_a_slash(client, address):
    assert client.get(address).status_code == 200


async def test_a_foreign_host_is_refused_in_the_one_error_shape(bench):
    answer = await post(ORDER, host="evil.example")
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "bad_request"


async def test_a_defect_is_answered_in_the_one_error_shape(bench, monkeypatch):
    def defect():
        raise ZeroDivisionError

    monkeypatch.setattr(views, "catalogue", defect)
    transport = httpx.ASGITransport(app=asgi.application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/api/pairs")
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal"


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=30)
    | st.sampled_from(["SOL", "USDC", "market", "1.5", "\0", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from([*ORDER, "slippageBps", "clientOrderId"]) | st.text(max_size=5)


@st.composite
def mutated(draw):
    """A valid body after an accident: another value, a field less, or bytes cut, doubled or changed."""
    order = dict(ORDER)
    for name in draw(st.lists(NAMES, max_size=2)):
        order[name] = draw(ANY_JSON)
    raw = bytearray(json.dumps(order).encode())
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(raw)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(bodies=st.lists(mutated() | ANY_JSON.map(json.dumps).map(str.encode) | st.binary(), min_size=5, max_size=5))
def test_no_body_whatever_makes_the_server_fail(bench, bodies):
    async def all_of_them():
        return await asyncio.gather(*(post(body) for body in bodies))

    for body, answer in zip(bodies, asyncio.run(all_of_them()), strict=True):
        assert answer.status_code in (202, 400, 409), body
        if answer.status_code != 202:
            error_of(answer)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    names=st.lists(st.sampled_from(["status", "type", "pair", "createdAfter", "createdBefore", "limit", "cursor"])),
    values=st.lists(
        st.text(max_size=20)
        | st.datetimes().map(lambda t: t.isoformat())
        | st.sampled_from(["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "-1", "0", "50", "cD0w", "cj0x"]),
        min_size=10,
    ),
)
def test_no_query_whatever_makes_the_list_fail(bench, client, names, values):
    answer = client.get("/api/orders", dict(zip(names, values, strict=False)))
    assert answer.status_code in (200, 400), (names, values)


# The same order only once


@pytest.mark.parametrize("header", [False, True])
async def test_the_same_request_under_one_client_order_id_is_one_order(bench, header):
    def again(order):
        return post(order, **{"idempotency-key": "k-1"}) if header else post(order | {"clientOrderId": "k-1"})

    first, second = await again(ORDER), await again(ORDER | {"amount": 1.5, "slippageBps": 50})
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert await aside(models.Order.objects.count) == 1
    other = await again(ORDER | {"amount": "1.6"})
    assert other.status_code == 409
    error = error_of(other)
    assert error["code"] == "client_order_id_taken"
    assert first.json()["orderId"] in error["message"]
    assert field_of(other)["field"] == "clientOrderId"


async def test_header_and_body_name_the_same_order(bench):
    first = await post(ORDER | {"clientOrderId": "k-2"})
    second = await post(ORDER, **{"idempotency-key": "k-2"})
    third = await post(ORDER | {"clientOrderId": "k-2"}, **{"idempotency-key": "k-2"})
    assert first.json()["orderId"] == second.json()["orderId"] == third.json()["orderId"]


async def test_a_header_that_contradicts_the_body_is_refused(bench):
    answer = await post(ORDER | {"clientOrderId": "a"}, **{"idempotency-key": "b"})
    assert answer.status_code == 400
    assert field_of(answer)["field"] == "Idempotency-Key"


async def test_a_bad_header_is_named_and_shown_as_it_came(bench):
    answer = await post(ORDER, **{"idempotency-key": "not good"})
    assert answer.status_code == 400
    field = field_of(answer)
    assert (field["field"], field["value"]) == ("Idempotency-Key", "not good")
    assert field["accepted"].startswith("1 to 64 letters")


async def test_fifty_racing_requests_with_one_client_order_id_make_one_order(bench):
    # Half of them by header, which takes the long way in.
    short = [post(ORDER | {"clientOrderId": "race"}) for _ in range(25)]
    long = [post(ORDER, **{"idempotency-key": "race"}) for _ in range(25)]
    answers = await asyncio.gather(*long, *short)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["orderId"] for answer in answers}) == 1
    assert await aside(models.Order.objects.count) == 1


# Reading


async def test_an_order_is_shown_live_before_postgres_knows(bench):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place)
    await aside(bench.run, [order_id])
    assert (await aside(bench.row, order_id)).status == "pending"
    shown = (await get(f"/api/orders/{order_id}")).json()
    assert (shown["status"], shown["seq"], shown["attempt"]) == ("confirmed", 5, 1)
    assert (shown["tokenIn"], shown["tokenOut"], shown["amount"]) == ("SOL", "USDC", "1.5")
    assert shown["result"]["executedPrice"] and shown["txHash"] == shown["result"]["txHash"]


async def test_an_order_is_shown_from_postgres_when_redis_is_empty(bench):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place)
    await aside(bench.run, [order_id])
    live_order = (await get(f"/api/orders/{order_id}")).json()
    live_events = (await get(f"/api/orders/{order_id}/events")).json()
    await aside(bench.archive)
    redis().flushdb()
    archived_order = (await get(f"/api/orders/{order_id}")).json()
    differing = {"updatedAt"}
    assert {k: v for k, v in archived_order.items() if k not in differing} == {
        k: v for k, v in live_order.items() if k not in differing
    }
    assert datetime.fromisoformat(archived_order["updatedAt"]) == datetime.fromisoformat(live_order["updatedAt"])
    assert (await get(f"/api/orders/{order_id}/events")).json() == live_events
    assert [event["status"] for event in live_events["events"]] == STAGES


async def test_an_order_is_shown_from_postgres_while_redis_is_away(bench, monkeypatch):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place)
    await aside(bench.run, [order_id])
    await aside(bench.archive)

    def away(*_):
        raise StoreError("gone")

    monkeypatch.setattr(live, "last_events", away)
    monkeypatch.setattr(live, "statuses", away)
    assert (await get(f"/api/orders/{order_id}")).json()["status"] == "confirmed"
    assert len((await get(f"/api/orders/{order_id}/events")).json()["events"]) == 5


async def test_events_past_a_seq_are_shown(bench):
    await aside(bench.quote_all)
    (order_id,) = await aside(bench.place)
    await aside(bench.run, [order_id])
    for after, seqs in ((0, [1, 2, 3, 4, 5]), (3, [4, 5]), (5, []), (99, [])):
        answer = await get(f"/api/orders/{order_id}/events?after={after}")
        assert [event["seq"] for event in answer.json()["events"]] == seqs


@pytest.mark.parametrize("after", ["-1", "x", "", "1.5", "9999999999", "\u0661"])
async def test_a_bad_after_is_refused(bench, after):
    (order_id,) = await aside(bench.place)
    answer = await get(f"/api/orders/{order_id}/events?after={after}")
    assert answer.status_code == 400
    assert field_of(answer)["field"] == "after"


async def test_an_order_id_may_be_spelled_in_capitals_and_is_shown_in_its_one_spelling(bench):
    (order_id,) = await aside(bench.place)
    assert (await get(f"/api/orders/{order_id.upper()}")).json()["orderId"] == order_id
    assert (await get(f"/api/orders/{order_id.upper()}/events")).json()["orderId"] == order_id


def listed(client, **query):
    """Return the ids a list shows."""
    answer = client.get("/api/orders", query)
    assert answer.status_code == 200, answer.content
    return [order["orderId"] for order in answer.json()["results"]]


def test_orders_are_listed_newest_first(bench, client):
    ids = bench.place(3)
    assert listed(client) == sorted(ids, reverse=True)


def test_the_list_is_chosen_by_status_pair_type_and_time(bench, client):
    now = datetime.now(UTC)
    old = str(OrderFactory(status=Status.CONFIRMED, created_at=now - timedelta(days=2)).id)
    failed = str(OrderFactory(status=Status.FAILED, created_at=now - timedelta(days=1)).id)
    other = str(OrderFactory(pair="USDC-SOL", amount_in=5_000_000).id)
    assert listed(client, status="failed") == [failed]
    assert set(listed(client, status=["failed", "confirmed"])) == {failed, old}
    assert listed(client, pair="USDC-SOL") == [other]
    assert len(listed(client, type="market")) == 3
    day = timedelta(hours=36)
    assert listed(client, createdBefore=(now - day).isoformat()) == [old]
    assert set(listed(client, createdAfter=(now - day).isoformat())) == {failed, other}


@pytest.mark.usefixtures("bench")
def test_a_server_whose_clock_is_off_makes_orders_that_are_found_by_the_time_of_their_creation(client):
    now = datetime.now(UTC)
    behind, ahead = (
        str(OrderFactory(id=first_at(int((now + off).timestamp() * 1000)), created_at=now).id)
        for off in (timedelta(minutes=-50), timedelta(minutes=50))
    )
    a_minute = timedelta(minutes=1)
    assert set(listed(client, createdAfter=(now - a_minute).isoformat())) == {behind, ahead}
    assert set(listed(client, createdBefore=(now + a_minute).isoformat())) == {behind, ahead}


def test_pages_are_followed_by_cursor_without_loss_although_orders_arrive(bench, client):
    ids = bench.place(7)
    page = client.get("/api/orders?limit=3").json()
    assert set(page) == {"next", "previous", "results"} and page["previous"] is None
    seen = [order["orderId"] for order in page["results"]]
    bench.place(2)
    while page["next"]:
        page = client.get(page["next"]).json()
        seen += [order["orderId"] for order in page["results"]]
    assert seen == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=",
        "cursor=nonsense",
        "cursor=cD1ub25zZW5zZQ==",
        "status=lost",
        "status=pending&status=lost",
        "type=swap",
        "pair=SOL-DOGE",
        "pair=%00",
        "createdAfter=yesterday",
        "createdBefore=2026-13-01",
        "page=2",
        "offset=5",
    ],
)
def test_a_parameter_that_is_not_understood_is_refused_by_name(bench, client, query):
    answer = client.get(f"/api/orders?{query}")
    assert answer.status_code == 400
    field = field_of(answer)
    assert field["field"] == query.partition("=")[0]
    assert field["accepted"]


def test_the_list_shows_where_each_order_stands_now(bench, client):
    bench.quote_all()
    ids = bench.place(2)
    bench.run(ids[:1])
    shown = {order["orderId"]: order["status"] for order in client.get("/api/orders").json()["results"]}
    assert shown == {ids[0]: "confirmed", ids[1]: "pending"}


def test_quotes_are_shown_with_their_age_and_best(bench, client):
    bench.quote_all(age_ms=400)
    shown = client.get("/api/quotes/SOL-USDC").json()
    assert {quote["venue"] for quote in shown["quotes"]} == {"RAYDIUM", "METEORA"}
    assert all(400 <= quote["ageMs"] < 5_000 for quote in shown["quotes"])
    assert shown["best"]["venue"] == "METEORA" and shown["fresh"] is True
    assert float(shown["best"]["netPrice"]) == max(float(quote["netPrice"]) for quote in shown["quotes"])


def test_a_pair_without_quotes_has_no_best(bench, client):
    shown = client.get("/api/quotes/SOL-USDC").json()
    assert (shown["best"], shown["fresh"], shown["quotes"]) == (None, False, [])


def test_pairs_are_listed_with_mints_and_decimals(bench, client):
    pairs = client.get("/api/pairs").json()
    assert [pair["pair"] for pair in pairs] == sorted(catalogue().active)
    sol = next(pair for pair in pairs if pair["pair"] == "SOL-USDC")
    assert sol["tokenIn"] == {"symbol": "SOL", "mint": TOKENS["SOL"].mint, "decimals": 9}
    assert all(Decimal(pair["tick"]) == catalogue().active[pair["pair"]].tick for pair in pairs)


# Health


def test_the_process_lives_whatever_its_stores_do(client):
    assert client.get("/healthz").json() == {"status": "ok"}


WELL = {"postgres": "ok", "redis": "ok", "quotes": "ok", "workers": "ok"}


@pytest.fixture
def well(bench):
    """An engine that lacks nothing: both venues quote, and every queue has a worker."""
    bench.quote_all()
    for queue in dispatch.QUEUES:
        heartbeats.beat(queue)
    return bench


def test_readiness_asks_every_part(well, client):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "parts": WELL})


@pytest.mark.parametrize(
    ("keys", "part", "said"),
    [
        (["quotes:{SOL-USDC}:METEORA"], "quotes", "VenueSilent: no quote within 2000 ms from METEORA"),
        (
            ["quotes:{SOL-USDC}:METEORA", "quotes:{SOL-USDC}:RAYDIUM"],
            "quotes",
            "VenueSilent: no quote within 2000 ms from RAYDIUM or METEORA",
        ),
        (["workers:alive"], "workers", "NobodyWorks: no worker for order, limit, sniper, stream, dbsync, dlq"),
    ],
)
def test_what_orders_can_wait_for_makes_the_server_degraded_and_not_unready(well, client, keys, part, said):
    redis().delete(*keys)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "parts": {**WELL, part: said}})


def test_a_quote_too_old_to_route_on_at_once_is_no_quote(well, client):
    for venue in ("RAYDIUM", "METEORA"):
        well.quote(venue, age_ms=2_500)
    assert client.get("/readyz").json()["parts"]["quotes"].startswith("VenueSilent")


@contextmanager
def broken_postgres():
    """Have Postgres refuse what this connection asks."""

    def refuse(*_):
        raise OperationalError("the database is shutting down")

    with connection.execute_wrapper(refuse):
        yield


def test_readiness_names_the_store_that_is_away(bench, client, monkeypatch):
    with broken_postgres():
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["redis"] == "ok" and "shutting down" in answer.json()["parts"]["postgres"]
    assert answer.json()["parts"]["quotes"] == answer.json()["parts"]["workers"] == "unknown while a store is away"
    assert "postgres" in answer.json()["error"]["message"]

    class Away:
        def ping(self):
            raise StoreError("connection refused")

    monkeypatch.setattr(health, "redis", Away)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["postgres"] == "ok" and "refused" in answer.json()["parts"]["redis"]


def test_with_postgres_away_reading_says_503_and_why(bench, client):
    with broken_postgres():
        answer = client.get("/api/orders")
    assert answer.status_code == 503
    assert error_of(answer)["code"] == "store_unreachable"


@pytest.mark.parametrize("header", [{}, {"accept": "application/*"}])
async def test_with_postgres_away_placing_says_503_and_why(bench, monkeypatch, header):
    def refuse(_):
        raise OperationalError("the database is shutting down")

    monkeypatch.setattr(intake, "insert", refuse)
    answer = await post(ORDER, **header)
    assert answer.status_code == 503
    assert error_of(answer)["code"] == "store_unreachable"


async def test_with_redis_away_an_order_is_accepted_nevertheless(bench, monkeypatch):
    def away(_):
        raise StoreError("gone")

    monkeypatch.setattr(placing, "place", away)
    answer = await post(ORDER)
    assert answer.status_code == 202
    assert (await aside(bench.row, answer.json()["orderId"])).status == "pending"


# Logs


async def test_accepted_orders_are_logged_by_id_through_both_doors(bench):
    with structlog.testing.capture_logs() as lines:
        short = (await post(ORDER)).json()["orderId"]
        long = (await post(ORDER, accept="application/*")).json()["orderId"]
    said = {line["order_id"]: line for line in lines if line["event"].startswith("order")}
    for order_id in (short, long):
        line = said[order_id]
        assert (line["event"], line["count"], line["log_level"]) == ("orders accepted", 1, "info")


async def test_a_request_keeps_the_log_context_of_its_process(bench, monkeypatch):
    seen = []

    async def record(*_):
        seen.append(structlog.contextvars.get_contextvars())
        await respond(_[-1], 200, {})

    monkeypatch.setattr(asgi, "django", record)
    with structlog.contextvars.bound_contextvars(worker="api"):
        await get("/healthz")
    assert seen[0]["worker"] == "api"


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-01-31T12:00:00+23:59"])
@pytest.mark.usefixtures("bench")
def test_a_time_at_the_edge_of_the_calendar_is_answered_and_never_breaks_the_list(client, at):
    answer = client.get("/api/orders", {"createdAfter": at})
    assert answer.status_code == (200 if at.startswith("2026") else 400), answer.content


async def test_a_whole_number_may_be_written_with_a_point(bench):
    answer = await post(json.dumps(ORDER).encode()[:-1] + b',"slippageBps":50.0}')
    assert answer.status_code == 202
    order = await get(f"/api/orders/{answer.json()['orderId']}")
    assert order.json()["slippageBps"] == 50


def test_options_names_the_methods_and_nothing_of_our_own(client):
    answer = client.options("/api/orders/execute")
    assert answer.json() == {"methods": ["POST", "OPTIONS"], "description": "/api/docs/"}
    assert answer.headers["allow"] == "POST, OPTIONS"
