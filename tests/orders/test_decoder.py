"""What is decoded on the event loop is what the serializer accepts, and is understood alike."""

import asyncio
import json
import threading
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from config import asgi
from engine.quotes import Pair
from orders import models
from orders.api import decoder as module
from orders.api import parsers, requests, serializers
from orders.api.decoder import decoder, plain
from orders.api.errors import Invalid
from orders.api.http import respond
from orders.stores.threads import aside
from routing.catalogue import Catalogue
from tests.orders.bench import TOKENS
from tests.orders.doors import ORDER, http, post

SOL_USDC = Pair(TOKENS["SOL"], TOKENS["USDC"], Decimal("0.01"))
JUP_USDC = Pair(TOKENS["JUP"], TOKENS["USDC"])
KNOWN = Catalogue(
    tokens={name: token for token in TOKENS.values() for name in (token.symbol, token.mint)},
    pairs={pair.name: pair for pair in (SOL_USDC, JUP_USDC)},
    active={SOL_USDC.name: SOL_USDC},
)
VALID = b'{"type":"market","tokenIn":"SOL","tokenOut":"USDC","amount":"1.5"}'

LIMIT = b'{"type":"limit","tokenIn":"SOL","tokenOut":"USDC","amount":"1.5","limitPrice":"155.2"}'
LIMIT_ORDER = ORDER | {"type": "limit", "limitPrice": "155.2"}


@pytest.fixture
def known(monkeypatch):
    """A catalogue without a database."""
    for owner in (serializers, requests):
        monkeypatch.setattr(owner, "catalogue", lambda: KNOWN)


def documented(body):
    """Read a body by the serializer; None when it is refused."""
    try:
        return requests.parse(parsers.loads(body), None, 7)
    except Invalid:
        return None


def at_once(body):
    """Read a body on the event loop; None when it is refused or left to the serializer."""
    try:
        return plain(parsers.loads(body), None, KNOWN, 7)
    except Invalid:
        return None


def agrees(body):
    """Hold the two together for one body; tell whether it is an order."""
    short, long = at_once(body), documented(body)
    if short is None:
        # Only an order with an expiry is left to the serializer.
        assert long is None or long.order.expires_at, body
        return False
    assert long is not None, body
    assert replace(long.order, id="") == replace(short.order, id="")
    assert repr(long.order.limit_price) == repr(short.order.limit_price)
    assert long.fingerprint == short.fingerprint
    return True


BY_FIELD = {
    "type": ['"market"', '"limit"', '"Market"', '"sniper"', '"l\\u0069mit"', "null"],
    "tokenIn": ['"SOL"', f'"{TOKENS["SOL"].mint}"', '"\\u0053OL"', '"JUP"', '"USDC"', '"sol"', '"SOL "', "1", "null"],
    "tokenOut": ['"USDC"', '"SOL"', f'"{TOKENS["USDC"].mint}"', "[]"],
    "slippageBps": ["0", "50", "5000", "5001", "-0", "-1", "50.0", "5e1", "+5", "05", '"50"', "true", "null", "1" * 30],
    "clientOrderId": ['"a"', '"a:b.c_d-e"', '""', '"a b"', '"a\\n"', '"é"', f'"{"x" * 64}"', f'"{"x" * 65}"', "null"],
    "timeInForce": ['"gtc"', '"gtc"', '"GTC"', '"ioc"', '"gtd"', '"g\\u0074c"', '""', "true", "null"],
    "expiresAt": ['"2026-11-22T12:00:00Z"', "null"],
    "trigger": ['{"kind":"launch"}', "[]"],
}
AMOUNTS = (
    st.sampled_from(
        [
            "1.5",
            "0",
            "-0",
            "-1",
            "+1",
            "01",
            "1.",
            ".5",
            "1e3",
            "1E-3",
            "1_0",
            "NaN",
            "null",
            "true",
            "[[[]]]",
            "{}",
            "0.0",
        ]
    )
    | st.from_regex(r"\d{1,22}(\.\d{1,22})?", fullmatch=True)
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | st.text(st.characters(max_codepoint=255), max_size=4)
)
PRICES = AMOUNTS | st.sampled_from(
    [
        "155.2",
        "155.20",
        "155.200000000000000000",
        "155.205",
        "100",
        "0.01",
        "0.001",
        "90071992547409.91",
        "90071992547409.92",
        "18446744073709.55",
        "99999999999999999999",
        "100000000000000000000",
        "0" * 19 + "1.5",
    ]
)
GAPS = st.sampled_from(["", "", "", " ", "\n", "\t\r ", "\x0b", "\x00", "\ufeff", "\xa0"])


@st.composite
def bodies(draw):
    """Bodies near the border between accepted and refused, written as text: JSON libraries would tidy them."""
    names = ["type", "tokenIn", "tokenOut", "amount"]
    names += draw(st.sampled_from([[], ["limitPrice"]]))
    names += draw(st.lists(st.sampled_from(["slippageBps", "clientOrderId", "timeInForce"]), unique=True))
    names += draw(st.sampled_from([[]] * 6 + [["expiresAt"], ["trigger"]]))
    names = draw(st.permutations(names))
    if draw(st.integers(0, 4)) == 0:
        names.append(draw(st.sampled_from([*names, "note", "", "token\\u0049n"])))
    if draw(st.integers(0, 9)) == 0:
        names.pop(0)
    fields = []
    for name in names:
        value = draw(st.sampled_from(BY_FIELD.get(name, [])[:2] * 4 + BY_FIELD.get(name, []) or ["0"]))
        if name in ("amount", "limitPrice"):
            value = draw(AMOUNTS if name == "amount" else PRICES)
            value = f'"{value}"' if draw(st.booleans()) else value
        fields.append(f'{draw(GAPS)}"{name}"{draw(GAPS)}:{draw(GAPS)}{value}')
    return (draw(GAPS) + "{" + ",".join(fields) + draw(GAPS) + "}" + draw(GAPS)).encode("utf-8", "surrogatepass")


@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(body=bodies() | st.binary(max_size=40))
@example(body=VALID[:-1] + b',"amount":"2"}')
@example(body=VALID[:-1] + b',"slippageBps":1,"slippageBps":2}')
@example(body=VALID[:-1] + b',"am\\u006funt":"2"}')
@example(body=VALID[:-1] + b',"slippageBps":-0}')
@example(body=LIMIT[:-1] + b',"limitPrice":"2"}')
@example(body=LIMIT[:-1] + b',"type":"limit"}')
@example(body=LIMIT[:-1] + b',"timeInForce":"gtc","timeInForce":"gtc"}')
@example(body=VALID[:-1] + b',"limitPrice":"2"}')
@example(body=LIMIT.replace(b"155.2", b"18446744073709.55").replace(b'"1.5"', b"2"))
@example(
    body=b'{"type":"market","tokenIn":"SOL","tokenOut":"USDC","amount":"1.5","clientOrderId":"","clientOrderId":"a"}'
)
@example(body=b'{"type":"market","tokenIn":"SOL","tokenOut":"USDC","amount":' + b"[" * 5000 + b"]" * 5000 + b"}")
def test_the_event_loop_takes_what_the_serializer_takes_and_reads_it_alike(known, body):
    agrees(body)


@pytest.mark.parametrize(
    "extra",
    [{}, {"amount": 1.5}, {"amount": 2}, {"slippageBps": 0}, {"clientOrderId": "a:1"}, {"tokenIn": TOKENS["SOL"].mint}],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_ordinary_bodies_are_read_on_the_event_loop(known, extra, indent):
    body = json.dumps(ORDER | {"slippageBps": 100, "clientOrderId": "mine"} | extra, indent=indent).encode()
    assert agrees(body)
    assert agrees(json.dumps(ORDER | extra).encode())


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"limitPrice": 155.2},
        {"limitPrice": 155},
        {"limitPrice": "155.200"},
        {"timeInForce": "gtc"},
        {"amount": 2, "slippageBps": 0, "clientOrderId": "a:1", "timeInForce": "gtc"},
        {"limitPrice": "0.01"},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_ordinary_limit_orders_are_read_on_the_event_loop(known, extra, indent):
    body = json.dumps(LIMIT_ORDER | extra, indent=indent).encode()
    assert agrees(body)
    assert agrees(json.dumps(dict(reversed((LIMIT_ORDER | extra).items()))).encode())


@pytest.mark.parametrize(
    "body",
    [
        VALID[:-1] + b',"amount":"1.5"}',
        VALID[:-1] + b',"slippageBps":1,"slippageBps":1}',
        VALID[:-1] + b',"clientOrderId":"a","clientOrderId":"a"}',
        VALID.replace(b'"1.5"', b"+1.5"),
        VALID.replace(b"SOL", b"JUP"),
        b"\xef\xbb\xbf" + VALID,
        VALID + b"\0",
        VALID + b"{}",
        VALID[:-1] + b',"limitPrice":"155.2"}',
        VALID[:-1] + b',"timeInForce":"gtc"}',
        LIMIT[:-1] + b',"limitPrice":"155.2"}',
        LIMIT[:-1] + b',"limitPrice":155.2}',
        LIMIT[:-1] + b',"type":"limit"}',
        LIMIT[:-1] + b',"timeInForce":"gtc","timeInForce":"gtc"}',
        LIMIT[:-1] + b',"expiresAt":"2026-11-22T12:00:00Z"}',
        LIMIT.replace(b"155.2", b"155.205"),
        LIMIT.replace(b"155.2", b"0"),
        LIMIT.replace(b"155.2", b"90071992547409.92"),
        LIMIT.replace(b"155.2", b"18446744073709.55"),
        LIMIT.replace(b"SOL", b"JUP"),
        LIMIT.replace(b"limit", b"sniper", 1),
    ],
)
def test_what_is_wrong_or_has_an_expiry_is_left_to_the_serializer(known, body):
    assert at_once(body) is None


@pytest.mark.parametrize(
    "body",
    [
        VALID[:-1] + b',"slippageBps":50.0}',
        VALID.replace(b"SOL", b"\\u0053OL"),
        LIMIT[:-1] + b',"timeInForce":"ioc"}',
        LIMIT.replace(b"limitPrice", b"limit\\u0050rice"),
        VALID.replace(b"market", b"sniper")[:-1] + b',"trigger":{"kind":"launch"},"maxPrice":"2.50"}',
    ],
)
def test_rare_spellings_and_types_are_read_on_the_event_loop_too(known, body):
    assert agrees(body)


async def test_a_thread_that_has_too_much_to_read_takes_no_more_and_says_so(bench, monkeypatch):
    unusual = VALID[:-1] + b',"note":"x"}'
    monkeypatch.setattr(module, "WAITING_MAX", len(unusual))
    answers = await asyncio.gather(*(post(unusual) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [400, 503, 503]
    assert {answer.headers.get("retry-after") for answer in answers} == {None, "1"}
    assert decoder.waiting == 0
    assert (await post(unusual)).status_code == 400


async def test_a_long_text_is_not_read_on_the_event_loop(bench, monkeypatch):
    on = []
    real = module.loads
    monkeypatch.setattr(module, "loads", lambda text: on.append(threading.current_thread()) or real(text))
    assert (await post(b" " * module.AT_ONCE_MAX + VALID)).status_code == 202
    assert (await post(VALID)).status_code == 202
    assert [thread is threading.main_thread() for thread in on] == [False, True]


async def through(short, body, headers):
    """Post by one of the two ways."""
    async with http() as client:
        told = headers if short else headers | {"accept": "application/*"}
        return await client.post("/api/orders/execute", content=body, headers=told)


SAMPLES = [
    ORDER,
    ORDER | {"amount": 2},
    ORDER | {"clientOrderId": "same", "slippageBps": 10},
    ORDER | {"clientOrderId": "same", "slippageBps": 11},
    ORDER | {"tokenIn": TOKENS["JUP"].mint, "amount": "0.000001"},
    ORDER | {"tokenIn": TOKENS["JUP"].mint, "amount": "0.0000001"},
    ORDER | {"amount": "-1"},
    ORDER | {"slippageBps": 1e9},
    LIMIT_ORDER,
    LIMIT_ORDER | {"clientOrderId": "limit", "timeInForce": "gtc"},
    LIMIT_ORDER | {"clientOrderId": "limit", "limitPrice": 155.3},
    LIMIT_ORDER | {"limitPrice": "155.123456789"},
    LIMIT_ORDER | {"limitPrice": "155.1234567891"},
    LIMIT_ORDER | {"limitPrice": "0"},
    {},
    [],
]


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1", "evil.example", "localhost:x", "[::1]:80"]
)
async def test_both_ways_answer_alike(bench, host):
    headers = {"content-type": "application/json; charset=utf-8", "host": host}
    await through(True, json.dumps(SAMPLES[2]).encode(), headers)
    for sample in SAMPLES:
        body = json.dumps(sample).encode()
        short, long = [await through(way, body, headers) for way in (True, False)]
        assert short.status_code == long.status_code
        assert without_identity(short) == without_identity(long)


def without_identity(answer):
    """Drop what differs between any two orders, keeping its form."""
    body = answer.json()
    if "orderId" in body:
        text = json.dumps(body | {"createdAt": len(body["createdAt"].split(".")[0]) * "0" + body["createdAt"][-1:]})
        body = json.loads(text.replace(body["orderId"], "ID"))
    return body


@pytest.mark.parametrize(
    ("headers", "short"),
    [
        ([("content-type", "application/json")], True),
        ([("content-type", "Application/JSON; charset=utf-8")], True),
        ([("content-type", "application/json"), ("idempotency-key", "k")], True),
        ([("content-type", "application/json"), ("content-type", "application/json")], False),
        ([("content-type", "application/json"), ("host", "127.0.0.1")], False),
        ([("content-type", "text/plain")], False),
        ([("content-type", "application/json"), ("accept", "application/json")], True),
        ([("content-type", "application/json"), ("accept", "text/html")], False),
        ([("content-type", "application/json"), ("accept", "application/json;q=0")], False),
    ],
)
async def test_only_plain_headers_take_the_short_way(bench, monkeypatch, headers, short):
    handed_on = []

    async def otherwise(scope, receive, send):
        handed_on.append(await receive())
        await respond(send, 204, None)

    monkeypatch.setattr(asgi.placing, "otherwise", otherwise)
    async with http() as client:
        await client.post("/api/orders/execute", content=VALID, headers=[("host", "localhost"), *headers])
    assert [message["body"] for message in handed_on] == ([] if short else [VALID])
    assert await aside(models.Order.objects.count) == short
