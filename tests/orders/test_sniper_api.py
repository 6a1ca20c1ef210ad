"""Sniper orders over HTTP: what one waits for, and what it may not have."""

import asyncio
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.money import U64_MAX
from engine.triggers import Condition, Kind
from orders.api import rules
from orders.stores import terms
from orders.stores.threads import aside
from routing.catalogue import catalogue
from routing.models import Pair
from tests.orders.bench import TOKENS
from tests.orders.doors import (
    ANY_JSON,
    LAUNCH,
    LIMIT,
    LIQUIDITY,
    MINT,
    ORDER,
    SNIPER,
    VOLUME,
    ahead,
    error_of,
    opened,
    placed,
    post,
    refused,
    shown,
)

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
        ("launch", "must be a condition: an object with a kind"),
        ([[LAUNCH]], "must be a condition: an object with a kind"),
        ({}, "must have one of the kinds launch, liquidity, volume"),
        ({"kind": "moon"}, "must have one of the kinds launch, liquidity, volume"),
        ({"kind": ["launch"]}, "must have one of the kinds launch, liquidity, volume"),
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
    assert (field["field"], field["message"]) == ("trigger", "is required for a sniper order")


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
        ({"tokenIn": "JUP"}, "must be SOL or USDC to buy an unlisted token: new pools are paired with these"),
        ({"tokenOut": "DOGE"}, "is not a token this engine trades"),
        ({"tokenOut": MINT[:-6]}, "is not a token this engine trades"),
        ({"tokenOut": "0" * 44}, "is not a token this engine trades"),
        ({"tokenOut": "SOL"}, "is the same token as tokenIn"),
        ({"tokenOut": "JUP"}, "cannot be bought with SOL: SOL-JUP is not a traded pair"),
        ({"tokenOut": TOKENS["JUP"].mint}, "cannot be bought with SOL: SOL-JUP is not a traded pair"),
        ({"tokenOut": "USDC", "maxPrice": "1e-18"}, "exceeds the maximum of 18446744073709.551615 USDC"),
    ],
)
async def test_what_a_sniper_order_cannot_have_is_refused(bench, change, message):
    field = await refused(SNIPER | change)
    assert (field["field"], field["message"]) == (next(reversed(change)), message)


async def test_a_token_of_a_retired_pair_is_no_longer_traded(bench):
    await aside(Pair.objects.filter(token_in__symbol="SOL", token_out__symbol="USDC").update, active=False)
    catalogue.forget()
    try:
        field = await refused(SNIPER | {"tokenOut": "USDC"})
        assert field["message"] == "is no longer traded for SOL: the pair SOL-USDC is not active"
    finally:
        await aside(Pair.objects.update, active=True)
        catalogue.forget()


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
