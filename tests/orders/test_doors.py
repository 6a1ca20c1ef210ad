"""One way in: whatever door an order comes through, the same request has the same outcome."""

import json
import re
import time
from contextlib import contextmanager

import httpx
import pytest
from django.db import OperationalError

from config.asgi import application
from orders import models
from orders.api.errors import RETRY_AFTER_S
from orders.flow import batcher as batching
from orders.flow import intake
from orders.flow.batcher import batcher
from orders.flow.pauses import pause, pauses
from orders.stores.threads import aside
from routing import catalogue as catalogues
from routing.catalogue import catalogue
from tests.keyring import BEARER
from tests.orders.doors import ORDER, opened, until

LIMIT = ORDER | {"type": "limit", "limitPrice": "155.2"}
SNIPER = ORDER | {"type": "sniper", "trigger": {"kind": "launch"}}
KEY = "Idempotency-Key"
STATUS = {1000: 202, 4400: 400, 4409: 409, 1013: 503, 1011: 500}
"""HTTP statuses by the close codes of a socket."""


async def post(path, content, headers):
    # What no view expects is answered by the server, and raised again for it.
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.post(path, content=content, headers={"content-type": "application/json"} | BEARER | headers)


async def route(body, headers, query=""):
    """Place an order as most clients do."""
    return outcome_of(await post(f"/api/orders/execute{query}", body, headers))


async def view(body, headers, query=""):
    """Place an order with a header that only Django's negotiation understands."""
    return outcome_of(await post(f"/api/orders/execute{query}", body, headers | {"accept": "application/*"}))


def outcome_of(answer):
    """Return the status, the error if any, and the order's id."""
    body = answer.json()
    if answer.status_code == 503:
        assert answer.headers["retry-after"] == str(RETRY_AFTER_S[body["error"]["code"]])
    return answer.status_code, body.get("error"), body.get("orderId")


async def batch(body, headers, query=""):
    """Place an order as the only one of a batch."""
    answer = await post(f"/api/orders/batch{query}", b'{"orders":[' + body + b"]}", headers)
    if answer.status_code != 200:
        return outcome_of(answer)
    (result,) = answer.json()["results"]
    # What keeps all of a batch out for now is told with the time to try again.
    assert result["status"] != 503
    return result["status"], result.get("error"), result.get("order", {}).get("orderId")


async def batch_by_view(body, headers, query=""):
    """Place a batch with a header that only Django's negotiation understands."""
    return await batch(body, headers | {"accept": "application/*"}, query)


async def socket(body, headers, query=""):
    """Place an order as the first message of a socket."""
    told = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    async with opened(f"/api/orders/execute{query}", told) as line:
        await line.send(body.decode())
        event = await line.event()
        if "error" not in event:
            return 202, None, event["orderId"]
        _, code = await line.rest()
    return STATUS[code], event["error"], None


DOORS = (route, view, batch, batch_by_view, socket)
ALONE = (route, view, socket)


@contextmanager
def paused(_):
    pauses.forget()
    row = pause("pair", "SOL-USDC", "the pool is being drained", "ops")
    yield
    row.delete()
    pauses.forget()


def failing(owner, name, reason):
    """Have a function fail while an order is placed."""

    @contextmanager
    def broken(patch):
        def fail(*_):
            raise reason

        patch.setattr(owner, name, fail)
        yield

    return broken


@contextmanager
def no_catalogue(patch):
    with failing(catalogues, "read", OperationalError("the database is shutting down"))(patch):
        patch.setattr(catalogue, "reading", None)
        yield


@contextmanager
def silent(patch):
    patch.setattr(batching, "ANSWER_S", 0.1)
    patch.setattr(intake, "place", lambda asked: time.sleep(0.5))
    yield


@contextmanager
def full(patch):
    patch.setattr(batching, "WAITING_MAX", 0)
    yield


def text(order, **more):
    return json.dumps(order | more, ensure_ascii=False).encode()


AWAY = OperationalError("the database is shutting down")
REQUESTS = {
    "a market order": (text(ORDER), 202, None),
    "a limit order": (text(LIMIT, slippageBps=10, timeInForce="gtc"), 202, None),
    "a sniper order": (text(SNIPER), 202, None),
    "a name written with an escape": (text(ORDER).replace(b"amount", b"am\\u006funt"), 202, None),
    "a whole number with a point": (text(ORDER, slippageBps=50)[:-3] + b"50.0}", 202, None),
    "an order that ends unfinished": (text(ORDER)[:-1], 400, "not_json"),
    "words": (b"an order please", 400, "not_json"),
    "a field twice": (text(ORDER)[:-1] + b',"amount":"1.5"}', 400, "not_json"),
    "NaN": (text(ORDER).replace(b'"1.5"', b"NaN"), 400, "not_json"),
    "a nest": (text(ORDER).replace(b'"1.5"', b"[" * 40 + b"]" * 40), 400, "not_json"),
    "more bytes than a body may have": (text(ORDER, note="€" * 22_000), 400, "too_large"),
    "a list": (b"[]", 400, "invalid"),
    "a text": (b'"order"', 400, "invalid"),
    "no field": (b"{}", 400, "invalid"),
    "an amount that is true": (text(ORDER, amount=True), 400, "invalid"),
    "an amount below what the token has": (text(ORDER, amount="0.0000000001"), 400, "invalid"),
    "a slippage as text": (text(ORDER, slippageBps="50"), 400, "invalid"),
    "a slippage too large": (text(ORDER, slippageBps=5001), 400, "invalid"),
    "a token that is a number": (text(ORDER, tokenIn=1), 400, "invalid"),
    "a token nobody trades": (text(ORDER, tokenOut="DOGE"), 400, "invalid"),
    "one token for itself": (text(ORDER, tokenOut="SOL"), 400, "invalid"),
    "a type there is not": (text(ORDER, type="stop"), 400, "invalid"),
    "an unknown field": (text(ORDER, note="x"), 400, "invalid"),
    "another type's field": (text(ORDER, limitPrice="155.2"), 400, "invalid"),
    "a limit order without its price": (text(ORDER, type="limit"), 400, "invalid"),
    "a price between two ticks": (text(LIMIT, limitPrice="155.205"), 400, "invalid"),
    "an id with a space": (text(ORDER, clientOrderId="a b"), 400, "invalid"),
    "a lone surrogate": (text(ORDER)[:-1] + b',"clientOrderId":"\\ud800"}', 400, "invalid"),
    "a time that is over": (text(LIMIT, expiresAt="2020-01-01T00:00:00Z"), 400, "invalid"),
}
TIMES = {
    "a paused pair": (paused, 503, "paused"),
    "more waits than can be written": (full, 503, "overloaded"),
    "Postgres is away": (failing(intake, "insert", AWAY), 503, "store_unreachable"),
    "Postgres does not answer": (silent, 503, "store_unreachable"),
    "the catalogue cannot be read": (no_catalogue, 503, "store_unreachable"),
    "a defect": (failing(intake, "insert", ZeroDivisionError("a defect")), 500, "internal"),
}


def comparable(error):
    """Drop the position in the text from what was no JSON: a batch has its order further on."""
    return error and error | {"message": re.sub(r"line \d+ column \d+ \(char \d+\)$", "", error["message"])}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_has_one_outcome_through_every_door(bench, name):
    body, status, code = REQUESTS[name]
    outcomes = {door.__name__: await door(body, {}) for door in DOORS}
    assert {door: (found[0], (found[1] or {}).get("code")) for door, found in outcomes.items()} == dict.fromkeys(
        outcomes, (status, code)
    )
    told = {door: comparable(error) for door, (_, error, _) in outcomes.items()}
    assert told == dict.fromkeys(told, told["route"])
    assert await aside(models.Order.objects.count) == (len(DOORS) if status == 202 else 0)


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("order", [ORDER, SNIPER], ids=["plain", "unusual"])
async def test_what_keeps_an_order_out_is_told_alike_through_every_door(bench, monkeypatch, name, order):
    happens, status, code = TIMES[name]
    outcomes = {}
    for door in DOORS:
        with monkeypatch.context() as patch:
            now = happens(patch)
            await aside(now.__enter__)
            outcomes[door.__name__] = await door(text(order), {})
            await aside(now.__exit__, None, None, None)
    assert {door: (found[0], found[1]["code"]) for door, found in outcomes.items()} == dict.fromkeys(
        outcomes, (status, code)
    )
    assert len({json.dumps(error) for _, error, _ in outcomes.values()}) == 1, outcomes


async def test_a_full_backlog_is_told_alike_through_every_door(bench, settings):
    settings.ORDER_BACKLOG_MAX = 1
    await aside(bench.place)
    batcher().backlog.is_full()
    await until(lambda: batcher().backlog.depth == 1, "the backlog is known")
    outcomes = [await door(text(ORDER), {}) for door in DOORS]
    assert [error["code"] for _, error, _ in outcomes] == ["overloaded"] * len(DOORS)
    assert len({json.dumps(outcome) for outcome in outcomes}) == 1


@pytest.mark.parametrize("first", DOORS, ids=lambda door: door.__name__)
async def test_an_id_names_one_order_through_every_door(bench, first):
    _, _, order_id = await first(text(ORDER, clientOrderId="mine"), {})
    for door in DOORS:
        assert await door(text(ORDER, clientOrderId="mine"), {}) == (202, None, order_id)
        status, error, _ = await door(text(ORDER, clientOrderId="mine", amount="7"), {})
        assert (status, error["code"]) == (409, "client_order_id_taken")
        assert order_id in error["message"]
    assert await aside(models.Order.objects.count) == 1


@pytest.mark.parametrize("key", ["mine", "not good"])
async def test_the_header_stands_for_the_id_through_every_door_of_one_order(bench, key):
    outcomes = [await door(text(ORDER), {KEY: key}) for door in ALONE]
    assert len({json.dumps(outcome) for outcome in outcomes}) == 1, outcomes
    assert outcomes[0][0] == (202 if key == "mine" else 400)


async def test_a_header_that_contradicts_the_body_is_refused_through_every_door_of_one_order(bench):
    outcomes = [await door(text(ORDER, clientOrderId="a"), {KEY: "b"}) for door in ALONE]
    assert [(status, error["fields"][0]["field"]) for status, error, _ in outcomes] == [(400, KEY)] * len(ALONE)


async def test_a_parameter_is_refused_through_every_door(bench):
    outcomes = [await door(text(ORDER), {}, "?mode=fast") for door in DOORS]
    assert [error["fields"][0]["field"] for _, error, _ in outcomes] == ["mode"] * len(DOORS)
    assert len({json.dumps(outcome) for outcome in outcomes}) == 1


@pytest.mark.parametrize("door", [route, view])
async def test_an_empty_body_is_no_json(bench, door):
    status, error, _ = await door(b"", {})
    assert (status, error["code"]) == (400, "not_json")


async def test_a_batch_is_read_like_its_orders_alone(bench):
    bodies = [body for body, _, code in REQUESTS.values() if code not in ("not_json", "too_large")]
    alone = [await route(body, {}) for body in bodies]
    answer = await post("/api/orders/batch", b'{"orders":[' + b",".join(bodies) + b"]}", {})
    results = answer.json()["results"]
    assert [(result["status"], result.get("error")) for result in results] == [outcome[:2] for outcome in alone]
