"""Limit orders over HTTP: the price, and how long an order waits."""

from datetime import UTC, datetime, timedelta

import pytest

from orders import models
from orders.api import fields
from orders.stores.threads import aside
from routing.store import now_ms
from tests.orders.doors import (
    LAUNCH,
    LIMIT,
    ORDER,
    SNIPER,
    ahead,
    batch,
    error_of,
    field_of,
    placed,
    post,
    refused,
    shown,
)

# Placing limit orders


async def test_a_limit_order_is_accepted_and_rests(bench):
    order = await shown(await placed(LIMIT))
    assert (order["type"], order["status"], order["limitPrice"]) == ("limit", "pending", "160")
    assert (order["timeInForce"], order["expiresAt"]) == ("gtc", None)
    assert (order["trigger"], order["maxPrice"], order["allowUnknown"]) == (None, None, None)


@pytest.mark.parametrize("header", [{}, {"idempotency-key": "k-1"}])
@pytest.mark.parametrize("price", ["160", "160.00", 160, 160.0, "1.6e2", "0160", "+160"])
async def test_a_price_is_kept_without_trailing_zeros_however_it_is_written(bench, price, header):
    order = await shown(await placed(LIMIT | {"limitPrice": price}, **header))
    assert order["limitPrice"] == "160"
    assert (await aside(bench.events, order["orderId"]))[0]["limitPrice"] == "160"


async def test_the_same_price_written_otherwise_is_the_same_order(bench):
    first = await placed(LIMIT | {"clientOrderId": "a", "limitPrice": "155.20"})
    assert await placed(LIMIT | {"clientOrderId": "a", "limitPrice": 155.2, "timeInForce": "gtc"}) == first
    assert (await post(LIMIT | {"clientOrderId": "a", "limitPrice": "155.21"})).status_code == 409


@pytest.mark.parametrize(
    ("pair", "price", "message"),
    [
        (("SOL", "USDC"), "155.205", "is not on the tick of 0.01; the nearest are 155.20 and 155.21"),
        (
            ("SOL", "USDC"),
            "155.2000000000000000000000001",
            "is not on the tick of 0.01; the nearest are 155.20 and 155.21",
        ),
        (("SOL", "USDC"), "0.001", "is not on the tick of 0.01; the least is 0.01"),
        (("SOL", "USDC"), "1e-999", "is not on the tick of 0.01; the least is 0.01"),
        (("USDC", "SOL"), "0.00645161", "is not on the tick of 0.0000001; the nearest are 0.0064516 and 0.0064517"),
        (("SOL", "USDC"), "90071992547409.92", "must be at most 90071992547409.91"),
        (("SOL", "USDC"), "1e20", "must be less than 100000000000000000000"),
        (("SOL", "USDC"), "0", "must be greater than zero"),
        (("SOL", "USDC"), "-1", "must be greater than zero"),
        (("SOL", "USDC"), "", "is empty"),
        (("SOL", "USDC"), None, "is null"),
        (("SOL", "USDC"), "NaN", "is not a decimal number"),
        (("SOL", "USDC"), ["160"], "must be a decimal as string or number"),
        (("SOL", "USDC"), True, "must be a decimal as string or number"),
    ],
)
async def test_a_limit_price_the_book_cannot_hold_is_refused_with_what_it_could(bench, pair, price, message):
    sold, bought = pair
    field = await refused(LIMIT | {"tokenIn": sold, "tokenOut": bought, "limitPrice": price})
    assert (field["field"], field["message"]) == ("limitPrice", message)
    assert field["accepted"].startswith("for limit orders: ")


async def test_a_price_that_asks_for_more_than_a_token_can_have_is_refused(bench):
    field = await refused(LIMIT | {"amount": "10000000000", "limitPrice": "1844.68"})
    assert field["field"] == "limitPrice"
    assert field["message"] == "exceeds the maximum of 18446744073709.551615 USDC"
    assert (await post(LIMIT | {"amount": "10000000000", "limitPrice": "1844.67"})).status_code == 202


async def test_a_limit_order_without_its_price_is_told_so_beside_what_else_is_wrong(bench):
    answer = await post(ORDER | {"type": "limit", "amount": "0", "trigger": LAUNCH})
    assert {field["field"]: field["message"] for field in error_of(answer)["fields"]} == {
        "limitPrice": "is required for a limit order",
        "amount": "must be greater than zero",
        "trigger": "does not apply to a limit order",
    }


@pytest.mark.parametrize(
    ("order", "name"),
    [
        (ORDER, "limitPrice"),
        (ORDER, "timeInForce"),
        (ORDER, "expiresAt"),
        (ORDER, "trigger"),
        (ORDER, "maxPrice"),
        (ORDER, "allowUnknown"),
        (LIMIT, "trigger"),
        (LIMIT, "maxPrice"),
        (LIMIT, "allowUnknown"),
        (SNIPER, "limitPrice"),
    ],
)
@pytest.mark.parametrize("value", [None, "1", "gtc", True])
async def test_a_field_of_another_type_of_order_is_refused_by_name(bench, order, name, value):
    field = await refused(order | {name: value})
    assert (field["field"], field["message"]) == (name, f"does not apply to a {order['type']} order")
    assert field["accepted"].startswith("for ")


# How long an order waits


async def test_an_expiry_alone_makes_an_order_good_till_then(bench):
    until = ahead(hours=1)
    order = await shown(await placed(LIMIT | {"expiresAt": until}))
    assert order["timeInForce"] == "gtd"
    assert datetime.fromisoformat(order["expiresAt"]) == datetime.fromisoformat(until)
    event = (await aside(bench.events, order["orderId"]))[0]
    assert event["expiresAt"] == order["expiresAt"] and order["expiresAt"].endswith("Z")


@pytest.mark.parametrize("order", [LIMIT, SNIPER])
async def test_an_expiry_may_have_any_offset_and_more_digits_than_are_kept(bench, order):
    at = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=123456)
    there = at.astimezone(datetime.fromisoformat("2026-01-01T00:00:00+05:30").tzinfo).isoformat()
    body = order | {"expiresAt": there.replace("T", "t"), "timeInForce": "gtd"}
    kept = datetime.fromisoformat((await shown(await placed(body)))["expiresAt"])
    assert kept == at.replace(microsecond=123000)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2020-01-01T00:00:00Z", "must be later than now"),
        ("0001-01-01T00:00:00+23:59", "must be later than now"),
        ("9999-12-31T23:59:59-23:59", "must be at most 366 days ahead"),
        ("2026-12-24", "is not an RFC 3339 time with a UTC offset"),
        ("2026-12-24T12:00:00", "is not an RFC 3339 time with a UTC offset"),
        ("2026-12-24 12:00:00Z", "is not an RFC 3339 time with a UTC offset"),
        ("20261224T120000Z", "is not an RFC 3339 time with a UTC offset"),
        ("2026-13-24T12:00:00Z", "is not an RFC 3339 time with a UTC offset"),
        ("2026-12-24T12:00:60Z", "is not an RFC 3339 time with a UTC offset"),
        ("2026-12-24T12:00:00+24:00", "is not an RFC 3339 time with a UTC offset"),
        ("\u0662026-12-24T12:00:00Z", "is not an RFC 3339 time with a UTC offset"),
        ("", "is not an RFC 3339 time with a UTC offset"),
        (1795348800000, "must be a string"),
        (None, "is null"),
    ],
)
async def test_an_expiry_that_is_no_time_to_come_is_refused(bench, value, message):
    field = await refused(LIMIT | {"expiresAt": value})
    assert (field["field"], field["message"]) == ("expiresAt", message)


async def test_an_expiry_may_be_366_days_ahead_and_no_more(bench):
    assert (await post(LIMIT | {"expiresAt": ahead(days=365, hours=23)})).status_code == 202
    assert field_of(await post(LIMIT | {"expiresAt": ahead(days=366, minutes=1)}))["field"] == "expiresAt"


async def test_an_order_that_is_sent_again_after_it_expired_is_the_same_order(bench, monkeypatch):
    body = LIMIT | {"clientOrderId": "k", "expiresAt": ahead(hours=1)}
    order_id = await placed(body)
    late = now_ms() + 7_200_000
    monkeypatch.setattr(fields, "now_ms", lambda: late)
    assert await placed(body) == order_id
    assert (await batch(body)).json()["results"][0]["order"]["orderId"] == order_id
    for other in (body | {"clientOrderId": "new"}, body | {"amount": "2"}, body | {"clientOrderId": "a b"}):
        answer = await post(other)
        assert answer.status_code == 400
        assert "expiresAt must be later than now" in error_of(answer)["message"]
    assert await aside(models.Order.objects.count) == 1


@pytest.mark.parametrize(
    ("order", "terms", "name", "message"),
    [
        (LIMIT, {"timeInForce": "gtd"}, "expiresAt", "is required with timeInForce gtd"),
        (LIMIT, {"timeInForce": "gtc", "expiresAt": 1}, "expiresAt", "is not allowed with timeInForce gtc"),
        (LIMIT, {"timeInForce": "ioc", "expiresAt": 1}, "expiresAt", "is not allowed with timeInForce ioc"),
        (SNIPER, {"timeInForce": "gtd"}, "expiresAt", "is required with timeInForce gtd"),
        (SNIPER, {"timeInForce": "ioc"}, "timeInForce", "ioc does not apply to a sniper order"),
        (LIMIT, {"timeInForce": "GTC"}, "timeInForce", "is not a time in force"),
        (LIMIT, {"timeInForce": "fok"}, "timeInForce", "is not a time in force"),
        (LIMIT, {"timeInForce": None}, "timeInForce", "is null"),
        (LIMIT, {"timeInForce": 1}, "timeInForce", "must be a string"),
    ],
)
async def test_a_time_in_force_that_contradicts_itself_is_refused(bench, order, terms, name, message):
    if "expiresAt" in terms:
        terms = terms | {"expiresAt": ahead(hours=1)}
    field = await refused(order | terms)
    assert (field["field"], field["message"]) == (name, message)


async def test_an_order_may_be_for_now_or_never(bench):
    assert (await shown(await placed(LIMIT | {"timeInForce": "ioc"})))["timeInForce"] == "ioc"
