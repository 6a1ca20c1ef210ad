"""Many orders in one request."""

import asyncio
import json

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orders import models
from orders.api import parsers
from orders.flow import intake
from orders.stores.threads import aside
from tests.orders.bench import TOKENS
from tests.orders.doors import (
    ANY_JSON,
    LIMIT,
    MINT,
    ORDER,
    SNIPER,
    ahead,
    batch,
    error_of,
    field_of,
    placed,
    post,
    shown,
)


async def test_each_order_of_a_batch_has_its_own_verdict_in_its_place(bench):
    taken = await placed(ORDER | {"clientOrderId": "taken"})
    answer = await batch(
        LIMIT,
        LIMIT | {"limitPrice": "160.001"},
        SNIPER,
        "order",
        ORDER | {"clientOrderId": "taken", "amount": "9"},
        ORDER | {"clientOrderId": "taken"},
        LIMIT | {"maxPrice": 1, "amount": 0},
    )
    assert answer.status_code == 200
    body = answer.json()
    assert (body["accepted"], body["refused"]) == (3, 4)
    results = body["results"]
    assert [result["status"] for result in results] == [202, 400, 202, 400, 409, 202, 400]
    assert [set(result) - {"status"} for result in results] == [
        {"order"} if status == 202 else {"error"} for status in [202, 400, 202, 400, 409, 202, 400]
    ]
    assert results[1]["error"]["fields"][0]["field"] == "limitPrice"
    assert results[4]["error"]["code"] == "client_order_id_taken"
    assert results[5]["order"]["orderId"] == taken
    assert {field["field"] for field in results[6]["error"]["fields"]} == {"maxPrice", "amount"}
    assert set(results[0]["order"]) == {"orderId", "status", "createdAt", "links"}
    assert (await shown(results[0]["order"]["orderId"]))["limitPrice"] == "160"
    assert await aside(models.Order.objects.count) == 3


async def test_a_batch_that_is_sent_again_is_answered_alike(bench):
    orders = [LIMIT | {"clientOrderId": f"k-{n}"} for n in range(5)]
    first, second = await batch(*orders), await batch(*orders)
    assert first.json() == second.json()
    assert await aside(models.Order.objects.count) == 5


@pytest.mark.parametrize("repeat", range(3))
async def test_of_orders_with_one_client_order_id_in_a_batch_the_first_decides(bench, repeat):
    one, other = LIMIT | {"clientOrderId": "k"}, LIMIT | {"clientOrderId": "k", "limitPrice": "161"}
    results = (await batch(one, other, one, other, ORDER)).json()["results"]
    assert [result["status"] for result in results] == [202, 409, 202, 409, 202]
    assert results[0]["order"] == results[2]["order"]
    assert results[0]["order"]["orderId"] in results[1]["error"]["message"]
    assert (await shown(results[0]["order"]["orderId"]))["limitPrice"] == "160"
    assert await aside(models.Order.objects.count) == 2


async def test_in_a_batch_an_id_that_names_an_earlier_order_goes_on_naming_it(bench):
    standing = await placed(LIMIT | {"clientOrderId": "k"})
    results = (await batch(ORDER | {"clientOrderId": "k"}, LIMIT | {"clientOrderId": "k"})).json()["results"]
    assert [result["status"] for result in results] == [409, 202]
    assert results[1]["order"]["orderId"] == standing


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "orders"),
        ({"orders": []}, "orders"),
        ({"orders": None}, "orders"),
        ({"orders": ORDER}, "orders"),
        ({"orders": [ORDER] * 101}, "orders"),
        ({"orders": [ORDER], "atomic": True}, "atomic"),
    ],
)
async def test_a_batch_that_is_wrong_as_a_whole_is_refused(bench, body, name):
    answer = await post(body, path="/api/orders/batch")
    assert answer.status_code == 400
    assert field_of(answer)["field"] == name
    assert await aside(models.Order.objects.count) == 0


def is_json(value):
    """Tell whether a value can be said in JSON: Python writes infinities and NaN, and JSON knows neither."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(orders=st.lists(ANY_JSON | st.sampled_from([ORDER, LIMIT, SNIPER]), min_size=1, max_size=8))
def test_no_batch_whatever_makes_the_server_fail(bench, orders):
    answer = asyncio.run(batch(*orders))
    if not is_json(orders):
        assert answer.status_code == 400
        return
    results = answer.json()["results"]
    assert len(results) == len(orders)
    assert all(
        (one["status"] == 202) == (asked in (ORDER, LIMIT, SNIPER)) for one, asked in zip(results, orders, strict=True)
    )


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"{", b'{"orders":[],"orders":[]}'])
async def test_a_batch_that_is_no_object_is_refused(bench, body):
    answer = await post(body, path="/api/orders/batch")
    assert answer.status_code == 400
    assert error_of(answer)["message"]


async def test_one_idempotency_key_does_not_stand_for_many_orders(bench):
    answer = await post({"orders": [ORDER]}, path="/api/orders/batch", **{"idempotency-key": "k"})
    assert answer.status_code == 400
    assert field_of(answer)["field"] == "Idempotency-Key"


async def test_a_hundred_of_the_longest_orders_are_below_a_bodys_limit(bench):
    longest = {
        "type": "sniper",
        "tokenIn": TOKENS["SOL"].mint,
        "tokenOut": MINT,
        "amount": "18446744073.709551615",
        "slippageBps": 5000,
        "trigger": [
            {"kind": "launch"},
            {"kind": "liquidity", "atLeast": "999999999999.99"},
            {"kind": "volume", "atLeast": "999999999999.99", "windowS": 3600},
        ],
        "maxPrice": "99999999999999999999.999999999999999999",
        "timeInForce": "gtd",
        "expiresAt": ahead(days=300),
        "allowUnknown": False,
    }
    body = {"orders": [longest | {"clientOrderId": f"{n:064}"} for n in range(100)]}
    assert 50_000 < len(json.dumps(body)) < parsers.BODY_MAX
    answer = await post(body, path="/api/orders/batch")
    assert (answer.json()["accepted"], answer.json()["refused"]) == (100, 0), answer.json()["results"][0]
    order = await shown(answer.json()["results"][99]["order"]["orderId"])
    assert order["maxPrice"] == longest["maxPrice"] and order["clientOrderId"] == f"{99:064}"


async def test_a_batch_writes_its_orders_together(bench, monkeypatch):
    written = []
    place = intake.place
    monkeypatch.setattr(intake, "place", lambda asked: written.append(len(asked)) or place(asked))
    await batch(*[LIMIT] * 20)
    assert written == [20]


async def test_a_batch_is_logged_in_one_line(bench):
    with structlog.testing.capture_logs() as lines:
        await batch(LIMIT, ORDER, "x")
    (line,) = [line for line in lines if line["event"] == "orders accepted"]
    assert line["count"] == 2
