"""Limit and sniper orders at the HTTP door: placed, shown, amended, cancelled, and many at once."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import structlog
from django.db import OperationalError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.money import U64_MAX
from engine.triggers import Condition, Kind
from orders import models
from orders.api import fields, parsers, rules
from orders.flow import intake, recovery, waiting
from orders.stores import order_view, swaps, terms
from orders.stores.threads import aside
from routing import quotes
from routing.store import StoreError, now_ms, redis
from tests.orders.bench import TOKENS
from tests.orders.doors import ORDER, delete, get, http, opened, patch, post
from tests.orders.test_api import ANY_JSON, error_of, field_of

MINT = "7vfCXTUXx5WJV5JADk17DUJ4ksgau7utNKj4b963voxs"
LIMIT = ORDER | {"type": "limit", "limitPrice": "160"}
LAUNCH = {"kind": "launch"}
LIQUIDITY = {"kind": "liquidity", "atLeast": "50000"}
VOLUME = {"kind": "volume", "atLeast": "10000.5", "windowS": 60}
SNIPER = {"type": "sniper", "tokenIn": "SOL", "tokenOut": MINT, "amount": "0.5", "trigger": LAUNCH}


def ahead(**delta):
    """Write the time so far from now as clients do."""
    return (datetime.now(UTC) + timedelta(**delta)).isoformat(timespec="milliseconds")


async def placed(body, **headers):
    """Place an order; return its id."""
    answer = await post(body, **headers)
    assert answer.status_code == 202, answer.text
    return answer.json()["orderId"]


async def shown(order_id):
    """Return an order as it is shown."""
    answer = await get(f"/api/orders/{order_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(body):
    """Have an order refused; return the one field it is refused for."""
    answer = await post(body)
    assert answer.status_code == 400, answer.text
    assert await aside(models.Order.objects.count) == 0
    return field_of(answer)


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
    assert field["accepted"].startswith("of a limit order: ")


async def test_a_price_that_asks_for_more_than_a_token_can_have_is_refused(bench):
    field = await refused(LIMIT | {"amount": "10000000000", "limitPrice": "1844.68"})
    assert field["field"] == "limitPrice"
    assert field["message"] == "asks for more than there can be: 18446744073709.551615 USDC"
    assert (await post(LIMIT | {"amount": "10000000000", "limitPrice": "1844.67"})).status_code == 202


async def test_a_limit_order_without_its_price_is_told_so_beside_what_else_is_wrong(bench):
    answer = await post(ORDER | {"type": "limit", "amount": "0", "trigger": LAUNCH})
    assert {field["field"]: field["message"] for field in error_of(answer)["fields"]} == {
        "limitPrice": "is missing: a limit order needs it",
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
    assert field["accepted"].startswith("of a ")


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
        ("2026-12-24", "is not an RFC 3339 time with its offset"),
        ("2026-12-24T12:00:00", "is not an RFC 3339 time with its offset"),
        ("2026-12-24 12:00:00Z", "is not an RFC 3339 time with its offset"),
        ("20261224T120000Z", "is not an RFC 3339 time with its offset"),
        ("2026-13-24T12:00:00Z", "is not an RFC 3339 time with its offset"),
        ("2026-12-24T12:00:60Z", "is not an RFC 3339 time with its offset"),
        ("2026-12-24T12:00:00+24:00", "is not an RFC 3339 time with its offset"),
        ("\u0662026-12-24T12:00:00Z", "is not an RFC 3339 time with its offset"),
        ("", "is not an RFC 3339 time with its offset"),
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
        (LIMIT, {"timeInForce": "gtd"}, "expiresAt", "is missing, and timeInForce gtd needs it"),
        (LIMIT, {"timeInForce": "gtc", "expiresAt": 1}, "expiresAt", "does not go with timeInForce gtc"),
        (LIMIT, {"timeInForce": "ioc", "expiresAt": 1}, "expiresAt", "does not go with timeInForce ioc"),
        (SNIPER, {"timeInForce": "gtd"}, "expiresAt", "is missing, and timeInForce gtd needs it"),
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


# Placing sniper orders


async def test_a_sniper_order_for_a_token_nobody_has_listed_is_accepted(bench):
    order = await shown(await placed(SNIPER | {"maxPrice": "0.000040", "allowUnknown": True}))
    assert (order["pair"], order["tokenOut"], order["amount"]) == (f"SOL-{MINT}", MINT, "0.5")
    assert (order["trigger"], order["maxPrice"], order["allowUnknown"]) == ([LAUNCH], "0.00004", True)
    assert (order["timeInForce"], order["limitPrice"]) == ("gtc", None)


@pytest.mark.parametrize("trigger", [LAUNCH, [LIQUIDITY], VOLUME, [VOLUME, LAUNCH, LIQUIDITY]])
async def test_a_trigger_is_one_condition_or_several(bench, trigger):
    order = await shown(await placed(SNIPER | {"trigger": trigger, "timeInForce": "gtc"}))
    assert order["trigger"] == (trigger if isinstance(trigger, list) else [trigger])
    assert (await aside(bench.row, order["orderId"])).trigger == order["trigger"]


async def test_dollars_may_be_numbers_and_are_shown_plain(bench):
    order = await shown(await placed(SNIPER | {"trigger": {"kind": "liquidity", "atLeast": 1e6}}))
    assert order["trigger"] == [{"kind": "liquidity", "atLeast": "1000000"}]


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        (None, "is null"),
        ([], "must be one condition, or a list of 1 to 3"),
        ([LAUNCH, LIQUIDITY, VOLUME, LAUNCH], "must be one condition, or a list of 1 to 3"),
        ([LIQUIDITY, LIQUIDITY | {"atLeast": "1"}], "names one kind twice"),
        ("launch", "is not a condition, which is an object with its kind"),
        ([[LAUNCH]], "is not a condition, which is an object with its kind"),
        ({}, "is of no kind there is: launch, liquidity, volume"),
        ({"kind": "moon"}, "is of no kind there is: launch, liquidity, volume"),
        ({"kind": ["launch"]}, "is of no kind there is: launch, liquidity, volume"),
        (LAUNCH | {"atLeast": "1"}, "of kind launch has no atLeast"),
        (LAUNCH | {"\ud800": "1"}, "of kind launch has no ?"),
        (LIQUIDITY | {"windowS": 60}, "of kind liquidity has no windowS"),
        ({"kind": "liquidity"}, "of kind liquidity: atLeast is missing"),
        (LIQUIDITY | {"atLeast": None}, "of kind liquidity: atLeast is null"),
        (LIQUIDITY | {"atLeast": "0"}, "of kind liquidity: atLeast must be greater than zero"),
        (LIQUIDITY | {"atLeast": "0.001"}, "of kind liquidity: atLeast must have at most 2 decimals"),
        (LIQUIDITY | {"atLeast": "1000000000000.01"}, "of kind liquidity: atLeast must be at most 1000000000000"),
        (LIQUIDITY | {"atLeast": "1e999"}, "of kind liquidity: atLeast must be at most 1000000000000"),
        (LIQUIDITY | {"atLeast": "1e-999"}, "of kind liquidity: atLeast must have at most 2 decimals"),
        ({"kind": "volume", "atLeast": "1"}, "of kind volume: windowS is missing"),
        (VOLUME | {"windowS": 0}, "of kind volume: windowS must be at least 1"),
        (VOLUME | {"windowS": 3601}, "of kind volume: windowS must be at most 3600"),
        (VOLUME | {"windowS": 1.5}, "of kind volume: windowS must be a whole number"),
        (VOLUME | {"windowS": "60"}, "of kind volume: windowS must be a whole number"),
    ],
)
async def test_a_trigger_that_is_wrong_is_refused_with_what_is_wrong_in_it(bench, trigger, message):
    field = await refused(SNIPER | {"trigger": trigger})
    assert (field["field"], field["message"]) == ("trigger", message)
    assert '{"kind": "launch"}' in field["accepted"]


async def test_a_sniper_order_without_a_trigger_is_told_so(bench):
    field = await refused({name: value for name, value in SNIPER.items() if name != "trigger"})
    assert (field["field"], field["message"]) == ("trigger", "is missing: a sniper order needs it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maxPrice": "0"}, "must be greater than zero"),
        ({"maxPrice": "1e-19"}, "must have at most 18 decimals"),
        ({"maxPrice": "1e-999"}, "must have at most 18 decimals"),
        ({"maxPrice": "1e20"}, "must be less than 100000000000000000000"),
        ({"maxPrice": None}, "is null"),
        ({"allowUnknown": "true"}, "must be true or false"),
        ({"allowUnknown": 1}, "must be true or false"),
        ({"allowUnknown": None}, "is null"),
        ({"tokenIn": "JUP"}, "must be SOL or USDC to buy a token that is not listed: new pools are paired with these"),
        ({"tokenOut": "DOGE"}, "is not a token this engine trades"),
        ({"tokenOut": MINT[:-6]}, "is not a token this engine trades"),
        ({"tokenOut": "0" * 44}, "is not a token this engine trades"),
        ({"tokenOut": "SOL"}, "is the same token as tokenIn"),
        ({"tokenOut": "JUP"}, "cannot be bought with SOL: SOL-JUP is not a traded pair"),
        ({"tokenOut": TOKENS["JUP"].mint}, "cannot be bought with SOL: SOL-JUP is not a traded pair"),
        ({"tokenOut": "USDC", "maxPrice": "1e-18"}, "asks for more than there can be: 18446744073709.551615 USDC"),
    ],
)
async def test_what_a_sniper_order_cannot_have_is_refused(bench, change, message):
    field = await refused(SNIPER | change)
    assert (field["field"], field["message"]) == (next(reversed(change)), message)


async def test_a_sniper_order_may_buy_a_token_that_is_traded_or_sell_dollars(bench):
    assert (await shown(await placed(SNIPER | {"tokenOut": "USDC"})))["pair"] == "SOL-USDC"
    assert (await shown(await placed(SNIPER | {"tokenIn": "USDC"})))["pair"] == f"USDC-{MINT}"


@pytest.mark.parametrize("order", [ORDER, LIMIT])
async def test_only_a_sniper_order_may_name_a_token_that_is_not_listed(bench, order):
    assert (await refused(order | {"tokenOut": MINT}))["field"] == "tokenOut"


async def test_a_limit_order_is_placed_over_a_socket_as_well(bench):
    async with opened("/api/orders/execute") as socket:
        await socket.send(LIMIT)
        assert (await socket.event())["limitPrice"] == "160"
    async with opened("/api/orders/execute") as socket:
        await socket.send(LIMIT | {"limitPrice": "160.001"})
        heard, code = await socket.rest()
    assert code == 4400
    assert heard[0]["error"]["fields"][0]["field"] == "limitPrice"


TERMS = st.sampled_from(["limitPrice", "timeInForce", "expiresAt", "trigger", "maxPrice", "allowUnknown", "tokenOut"])
NEARLY = st.sampled_from(
    ["1e-999", "1e999", "160", "155.205", "gtd", "ioc", MINT, "2026-12-24T12:00:00Z", LIQUIDITY, [VOLUME, LAUNCH]]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    bodies=st.lists(
        st.tuples(st.sampled_from([ORDER, LIMIT, SNIPER]), st.dictionaries(TERMS, ANY_JSON | NEARLY, max_size=4)),
        min_size=5,
        max_size=5,
    )
)
def test_no_terms_whatever_make_the_server_fail(bench, bodies):
    async def all_of_them():
        return await asyncio.gather(*(post(order | terms) for order, terms in bodies))

    for body, answer in zip(bodies, asyncio.run(all_of_them()), strict=True):
        assert answer.status_code in (202, 400), body
        if answer.status_code == 400:
            error_of(answer)


# What an order waits beside


@pytest.mark.parametrize(
    ("best", "away"), [("155", "322.59"), ("160", "0"), ("161", "0"), ("159.999999999", "0.01"), ("0.000001", None)]
)
async def test_a_limit_order_shows_how_far_best_is_from_its_price(bench, best, away):
    order_id = await placed(LIMIT)
    await aside(bench.price, best, age_ms=300)
    resting = (await shown(order_id))["resting"]
    assert resting["best"] == best
    assert 300 <= resting["ageMs"] < 10_000
    assert resting["awayBps"] == (away or "1599999990000")


async def test_a_limit_order_without_a_price_beside_it_says_so(bench):
    assert (await shown(await placed(LIMIT)))["resting"] == {"best": None, "ageMs": None, "awayBps": None}


async def test_a_sniper_order_shows_the_price_of_its_pair_if_there_is_one(bench):
    listed, unlisted = await placed(SNIPER | {"tokenOut": "USDC"}), await placed(SNIPER)
    await aside(bench.price, "155")
    assert (await shown(listed))["resting"] == {"best": "155"}
    assert (await shown(unlisted))["resting"] == {"best": None}


async def test_an_order_that_does_not_wait_shows_nothing_beside_it(bench):
    market, cancelled = await placed(ORDER), await placed(LIMIT)
    await delete(f"/api/orders/{cancelled}")
    await aside(bench.price, "155")
    assert (await shown(market))["resting"] is None
    assert (await shown(cancelled))["resting"] is None


async def test_what_an_order_waits_beside_is_left_out_while_redis_is_away(bench, monkeypatch):
    order_id = await placed(LIMIT)
    await aside(bench.price, "155")

    def away(*_):
        raise StoreError("gone")

    monkeypatch.setattr(quotes, "cached", away)
    assert (await shown(order_id))["resting"] == {"best": None, "ageMs": None, "awayBps": None}


async def test_a_page_of_orders_asks_for_prices_once(bench, monkeypatch):
    for body in (LIMIT, LIMIT, SNIPER, ORDER):
        await placed(body)
    asked = []
    cached = quotes.cached
    monkeypatch.setattr(quotes, "cached", lambda pairs: asked.append(set(pairs)) or cached(asked[-1]))
    page = (await get("/api/orders")).json()["results"]
    assert [bool(order["resting"]) for order in page] == [False, True, True, True]
    assert asked == [{"SOL-USDC", f"SOL-{MINT}"}]


@given(
    limit=st.decimals("1e-18", "1e19", allow_nan=False).filter(lambda d: d > 0),
    best=st.decimals("1e-30", "1e19", allow_nan=False).filter(lambda d: d > 0),
)
@example(limit=Decimal("99999999999999999999.999999999999999999"), best=Decimal("1e-30"))
def test_only_a_price_that_is_reached_is_no_way_off(limit, best):
    assert (Decimal(order_view.away_bps(limit, best)) == 0) == (best >= limit)


def test_the_list_is_chosen_by_each_type_and_by_a_pair_that_is_not_listed(bench, client):
    ids = {body["type"]: asyncio.run(placed(body)) for body in (ORDER, LIMIT, SNIPER)}
    for kind, order_id in ids.items():
        (order,) = client.get("/api/orders", {"type": kind}).json()["results"]
        assert order["orderId"] == order_id
    (order,) = client.get("/api/orders", {"pair": f"SOL-{MINT}"}).json()["results"]
    assert order["orderId"] == ids["sniper"]


# Cancelling


@pytest.mark.parametrize("body", [ORDER, LIMIT, SNIPER])
async def test_an_order_that_has_not_begun_is_cancelled(bench, body):
    order_id = await placed(body)
    answer = await delete(f"/api/orders/{order_id}")
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    order = answer.json()
    assert (order["orderId"], order["status"], order["seq"]) == (order_id, "cancelled", 2)
    assert order["result"] == {"kind": "cancelled", "reason": "cancelled by the client"}
    assert await aside(bench.statuses, order_id) == ["pending", "cancelled"]


def lost_after(monkeypatch, name):
    """Have Redis emptied as soon as this function of the swaps has been run."""
    real = getattr(swaps, name)

    def run(*args):
        result = real(*args)
        redis().flushdb()
        return result

    monkeypatch.setattr(swaps, name, run)


@pytest.mark.parametrize("name", ["reserve", "finish"])
async def test_a_cancellation_is_answered_as_it_stands_though_redis_is_lost_amid_it(bench, monkeypatch, name):
    order_id = await placed(LIMIT)
    lost_after(monkeypatch, name)
    answer = await delete(f"/api/orders/{order_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert (await shown(order_id))["status"] == "cancelled"


@pytest.mark.parametrize("name", ["reserve", "finish"])
async def test_an_amendment_is_answered_as_it_stands_though_redis_is_lost_amid_it(bench, monkeypatch, name):
    order_id = await placed(LIMIT)
    lost_after(monkeypatch, name)
    answer = await patch(f"/api/orders/{order_id}", {"limitPrice": "170"}, 1)
    assert (answer.status_code, answer.json()["limitPrice"]) == (200, "170")
    monkeypatch.undo()
    await aside(recovery.recover)
    order = await shown(order_id)
    assert (order["limitPrice"], order["seq"], order["status"]) == ("170", 2, "pending")
    events = (await get(f"/api/orders/{order_id}/events")).json()["events"]
    assert events[-1]["amended"] == {"limitPrice": {"from": "160", "to": "170"}}


async def test_an_order_that_is_over_cannot_be_cancelled_and_says_where_it_stands(bench):
    await aside(bench.quote_all)
    order_id = await placed(ORDER)
    await aside(bench.run, [order_id])
    answer = await delete(f"/api/orders/{order_id}")
    assert answer.status_code == 409
    error = error_of(answer)
    assert error["code"] == "not_resting"
    assert error["message"] == "the order is confirmed; only a resting order can be cancelled or amended"
    assert (field_of(answer)["field"], field_of(answer)["value"]) == ("status", "confirmed")


async def test_a_cancellation_is_answered_as_what_it_is_although_redis_has_been_lost_since(bench, monkeypatch):
    order_id = await placed(LIMIT)
    real = waiting.cancel

    def lost_meanwhile(*asked):
        real(*asked)
        redis().flushdb()

    monkeypatch.setattr(waiting, "cancel", lost_meanwhile)
    answer = await delete(f"/api/orders/{order_id}")
    assert (answer.status_code, answer.json()["status"], answer.headers["etag"]) == (200, "cancelled", '"2"')


async def test_an_order_is_cancelled_once_however_many_ask(bench):
    order_id = await placed(LIMIT)
    answers = await asyncio.gather(*(delete(f"/api/orders/{order_id}") for _ in range(8)))
    # Two that ask within one millisecond make the same event, and both may be told that it was theirs.
    assert {answer.status_code for answer in answers} == {200, 409}
    assert await aside(bench.statuses, order_id) == ["pending", "cancelled"]


@pytest.mark.parametrize("order_id", ["not-an-id", "019d3f0e-6a51-7c4e-9b1a-2f5f0a8d2c11"])
async def test_an_order_that_is_not_there_cannot_be_cancelled_or_amended(bench, order_id):
    for answer in (await delete(f"/api/orders/{order_id}"), await patch(f"/api/orders/{order_id}", {"amount": 1}, 1)):
        assert answer.status_code == 404
        assert error_of(answer)["code"] == "not_found"


async def test_all_orders_of_a_pair_that_rest_are_cancelled_and_no_others(bench):
    await aside(bench.quote_all)
    limits, sniper = [await placed(LIMIT) for _ in range(3)], await placed(SNIPER | {"tokenOut": "USDC"})
    market = await placed(ORDER)
    other = await placed(LIMIT | {"tokenIn": "JUP", "limitPrice": "1"})
    answer = await delete("/api/orders?pair=SOL-USDC&type=limit")
    assert answer.json() == {"pair": "SOL-USDC", "cancelled": 3, "lost": 0, "complete": True}
    assert [(await shown(order_id))["status"] for order_id in limits] == ["cancelled"] * 3
    assert (await delete("/api/orders?pair=SOL-USDC")).json()["cancelled"] == 1
    assert (await shown(sniper))["status"] == "cancelled"
    assert {(await shown(order_id))["status"] for order_id in (market, other)} == {"pending"}


async def test_orders_for_a_token_that_is_not_listed_are_cancelled_by_its_mint(bench):
    order_id = await placed(SNIPER)
    assert (await delete(f"/api/orders?pair=SOL-{MINT}")).json()["cancelled"] == 1
    assert (await shown(order_id))["status"] == "cancelled"


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("", "pair"),
        ("?type=limit", "pair"),
        ("?pair=", "pair"),
        ("?pair=SOL-DOGE", "pair"),
        ("?pair=%00", "pair"),
        ("?pair=SOL-USDC&pair=USDC-SOL", "pair"),
        ("?pair=SOL-USDC&type=market", "type"),
        ("?pair=SOL-USDC&type=", "type"),
        ("?pair=SOL-USDC&type=limit&type=sniper", "type"),
        ("?pair=SOL-USDC&status=pending", "status"),
        ("?pair=SOL-USDC&limit=1", "limit"),
    ],
)
async def test_whoever_cancels_many_must_say_exactly_which(bench, query, name):
    order_id = await placed(LIMIT)
    answer = await delete(f"/api/orders{query}")
    assert answer.status_code == 400
    assert field_of(answer)["field"] == name
    assert (await shown(order_id))["status"] == "pending"


# Amending


async def test_a_resting_order_is_amended_and_shown_as_it_is_now(bench):
    order_id = await placed(LIMIT | {"expiresAt": ahead(hours=1)})
    until = ahead(hours=2)
    answer = await patch(f"/api/orders/{order_id}", {"limitPrice": 158.5, "amount": "2", "expiresAt": until}, 1)
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == '"2"'
    order = answer.json()
    assert (order["status"], order["seq"], order["limitPrice"], order["amount"]) == ("pending", 2, "158.5", "2")
    assert datetime.fromisoformat(order["expiresAt"]) == datetime.fromisoformat(until)
    assert order["result"]["amended"]["limitPrice"] == {"from": "160", "to": "158.5"}
    again = await get(f"/api/orders/{order_id}")
    assert (again.headers["etag"], again.json()) == ('"2"', order)


async def test_an_expiry_is_taken_away_and_given(bench):
    order_id = await placed(LIMIT | {"expiresAt": ahead(hours=1)})
    without = (await patch(f"/api/orders/{order_id}", {"expiresAt": None}, 1)).json()
    assert (without["timeInForce"], without["expiresAt"]) == ("gtc", None)
    until = (await patch(f"/api/orders/{order_id}", {"expiresAt": ahead(hours=1)}, 2)).json()
    assert until["timeInForce"] == "gtd" and until["expiresAt"]


async def test_a_sniper_orders_highest_price_is_changed_and_taken_away(bench):
    order_id = await placed(SNIPER)
    assert (await patch(f"/api/orders/{order_id}", {"maxPrice": "0.50"}, 1)).json()["maxPrice"] == "0.5"
    assert (await patch(f"/api/orders/{order_id}", {"maxPrice": None}, 2)).json()["maxPrice"] is None


async def test_the_terms_shown_outlive_redis(bench):
    order_id = await placed(LIMIT)
    await patch(f"/api/orders/{order_id}", {"limitPrice": "158.5"}, 1)
    redis().flushdb()
    assert (await shown(order_id))["limitPrice"] == "158.5"


@pytest.mark.parametrize("seq", ['"1"', "1", 'W/"1"', ' "1" '])
async def test_if_match_may_be_written_in_each_way_an_etag_is(bench, seq):
    order_id = await placed(LIMIT)
    assert (await patch(f"/api/orders/{order_id}", {"amount": "2"}, seq)).status_code == 200


@pytest.mark.parametrize("seq", ["*", '"x"', "", '"1", "2"', "-1", '"1', "1.0", '"9999999999"', "w/1", '""'])
async def test_an_if_match_that_is_no_etag_of_an_order_is_refused(bench, seq):
    order_id = await placed(LIMIT)
    answer = await patch(f"/api/orders/{order_id}", {"amount": "2"}, seq)
    assert answer.status_code == 400
    assert field_of(answer)["field"] == "If-Match"
    assert (await shown(order_id))["seq"] == 1


async def test_an_amendment_that_does_not_say_what_it_is_meant_for_is_refused(bench):
    order_id = await placed(LIMIT)
    answer = await patch(f"/api/orders/{order_id}", {"amount": "2"})
    assert answer.status_code == 428
    assert error_of(answer)["code"] == "precondition_required"
    assert field_of(answer)["field"] == "If-Match"


async def test_of_two_amendments_meant_for_the_same_state_one_is_made(bench):
    order_id = await placed(LIMIT)
    bodies = [{"limitPrice": f"{160 + n}"} for n in range(1, 6)]
    answers = await asyncio.gather(*(patch(f"/api/orders/{order_id}", body, 1) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 4
    late = next(answer for answer in answers if answer.status_code == 412)
    assert error_of(late)["code"] == "changed"
    assert error_of(late)["message"] == "If-Match names another seq than the order's, which is 2"
    assert await aside(bench.statuses, order_id) == ["pending", "pending"]


@pytest.mark.parametrize("body", [LIMIT | {"timeInForce": "ioc"}, ORDER])
async def test_an_order_that_never_rests_cannot_be_amended(bench, body):
    order_id = await placed(body)
    answer = await patch(f"/api/orders/{order_id}", {"amount": "2"}, 1)
    assert answer.status_code == 409
    assert error_of(answer)["code"] == "not_resting"
    assert (await shown(order_id))["amount"] == "1.5"


async def test_an_order_that_is_cancelled_cannot_be_amended(bench):
    order_id = await placed(LIMIT)
    await delete(f"/api/orders/{order_id}")
    answer = await patch(f"/api/orders/{order_id}", {"amount": "2"}, 2)
    assert answer.status_code == 409
    assert field_of(answer)["value"] == "cancelled"


@pytest.mark.parametrize(
    ("order", "change", "message"),
    [
        (LIMIT, {"limitPrice": "158.505"}, "is not on the tick of 0.01; the nearest are 158.50 and 158.51"),
        (LIMIT, {"limitPrice": None}, "is null"),
        (LIMIT, {"limitPrice": "90071992547409.92"}, "must be at most 90071992547409.91"),
        (LIMIT, {"amount": None}, "is null"),
        (LIMIT, {"amount": "0"}, "must be greater than zero"),
        (LIMIT, {"amount": "0.0000000001"}, "SOL has 9 decimals; the smallest amount is 1E-9"),
        (LIMIT | {"limitPrice": "1844.68"}, {"amount": "10000000000"}, "asks for more than there can be: "),
        (LIMIT, {"expiresAt": "2020-01-01T00:00:00Z"}, "must be later than now"),
        (LIMIT, {"maxPrice": "1"}, "does not apply to a limit order"),
        (LIMIT, {"maxPrice": None}, "does not apply to a limit order"),
        (LIMIT, {"trigger": LAUNCH}, "does not apply to a limit order"),
        (LIMIT, {"timeInForce": "gtc"}, "cannot be amended"),
        (LIMIT, {"slippageBps": 1}, "cannot be amended"),
        (LIMIT, {"type": "market"}, "cannot be amended"),
        (LIMIT, {"seq": 1}, "is not a field of an order"),
        (SNIPER, {"limitPrice": "1"}, "does not apply to a sniper order"),
        (SNIPER, {"maxPrice": "1e-19"}, "must have at most 18 decimals"),
        (SNIPER, {"trigger": LAUNCH}, "cannot be amended"),
    ],
)
async def test_an_amendment_is_refused_as_the_order_would_have_been(bench, order, change, message):
    order_id = await placed(order)
    answer = await patch(f"/api/orders/{order_id}", change, 1)
    assert answer.status_code == 400
    field = field_of(answer)
    assert field["field"] == next(iter(change))
    assert field["message"].startswith(message)
    assert field["accepted"]
    assert (await shown(order_id))["seq"] == 1


async def test_each_wrong_field_of_an_amendment_is_named(bench):
    order_id = await placed(LIMIT)
    answer = await patch(f"/api/orders/{order_id}", {"limitPrice": "x", "amount": 0, "note": 1}, 1)
    assert {field["field"] for field in error_of(answer)["fields"]} == {"limitPrice", "amount", "note"}


@pytest.mark.parametrize("body", [{}, [], None, "x"])
async def test_an_amendment_of_nothing_is_refused(bench, body):
    order_id = await placed(LIMIT)
    answer = await patch(f"/api/orders/{order_id}", body, 1)
    assert answer.status_code == 400
    assert error_of(answer)["message"].endswith("limitPrice, amount, expiresAt, maxPrice")


async def test_an_amendment_that_is_not_json_is_refused(bench):
    order_id = await placed(LIMIT)
    async with http() as client:
        answer = await client.patch(f"/api/orders/{order_id}", content=b"amount=2", headers={"if-match": '"1"'})
    assert answer.status_code == 415


# Many at once


def batch(*orders):
    """Post a batch."""
    return post({"orders": list(orders)}, path="/api/orders/batch")


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


# When a store is away


@pytest.mark.parametrize("reason", [StoreError("gone"), OperationalError("shutting down")])
async def test_with_a_store_away_nothing_is_cancelled_or_amended_and_the_answer_says_so(bench, monkeypatch, reason):
    def away(*_):
        raise reason

    order_id = await placed(LIMIT)
    for name in ("cancel", "cancel_all", "amend"):
        monkeypatch.setattr(waiting, name, away)
    for answer in (
        await delete(f"/api/orders/{order_id}"),
        await delete("/api/orders?pair=SOL-USDC"),
        await patch(f"/api/orders/{order_id}", {"amount": "2"}, 1),
    ):
        assert answer.status_code == 503
        assert error_of(answer)["code"] == "store_unreachable"


# What becomes of the terms


def test_terms_are_handed_on_as_the_engine_counts_them(bench):
    until = ahead(hours=1)
    order_id = asyncio.run(placed(SNIPER | {"trigger": VOLUME, "maxPrice": "0.5", "expiresAt": until}))
    order = terms.order_of(bench.row(order_id))
    assert order.trigger == (Condition(Kind.VOLUME, 1_000_050, 60_000),)
    assert order.max_price == Decimal("0.5")
    assert order.expires_at == int(datetime.fromisoformat(until).timestamp() * 1000 + 0.5)
    assert order.time_in_force == "gtd"


def test_a_price_of_one_is_payable_for_every_amount(bench):
    order = bench.limit("1", amount=U64_MAX).order
    assert rules.payable(order, "limitPrice") is order
