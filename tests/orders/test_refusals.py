"""What the HTTP API refuses, and how it says so."""

import asyncio
import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import asgi
from orders import models
from orders.api import views
from orders.stores.threads import aside
from routing.catalogue import catalogue
from tests.keyring import BEARER, WIRE
from tests.orders.bench import TOKENS
from tests.orders.doors import ANY_JSON, NAMES, NOBODY, ORDER, error_of, field_of, http, post

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

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), *WIRE]
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


def test_the_root_is_the_desk_and_names_the_documentation(bench, operator):
    answer = operator.get("/")
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
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=BEARER) as client:
        answer = await client.get("/api/pairs")
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal"


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
