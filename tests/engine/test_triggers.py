"""Levels and ticks, which price may be trusted, and when a sniper's conditions hold."""

from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.amm import ConstantProduct
from engine.orders import Order, OrderType
from engine.quotes import Pair, Quote
from engine.triggers import (
    LEVEL_MAX,
    Condition,
    Distrust,
    Kind,
    TokenState,
    affords,
    cents,
    condition_from,
    first_unmet,
    level,
    nearest_ticks,
    on_tick,
    price_watch,
    trusted,
    usd,
)
from tests.engine.tokens import SOL, USDC

NOW = 1_000_000
TICKS = st.sampled_from([Decimal(1).scaleb(-digits) for digits in range(12)])
PRICES = st.decimals("0.000001", "1000000", places=12)


def quote(price, venue="RAYDIUM", age=0, fee_bps=0):
    return Quote(venue, "SOL-USDC", Decimal(price), fee_bps, ConstantProduct(1, 1), NOW - age, NOW - age)


def judged(*quotes):
    return trusted(quotes, NOW, age_max_ms=2_000, compared_ms=10_000, apart_max_bps=2_500)


@given(PRICES, st.integers(1, 10**9), TICKS)
def test_a_price_reaches_a_limit_on_the_tick_exactly_when_its_level_does(price, ticks, tick):
    limit = ticks * tick
    assert on_tick(limit, tick)
    assert (level(price, tick) >= level(limit, tick)) == (price >= limit)


@given(PRICES, TICKS)
def test_the_nearest_ticks_lie_on_either_side_and_on_the_tick(price, tick):
    below, above = nearest_ticks(price, tick)
    assert on_tick(below, tick) and on_tick(above, tick)
    assert 0 < below <= max(price, tick) and below <= above
    assert price < above and above - tick <= price


def test_a_level_never_leaves_what_a_sorted_set_keeps_exactly():
    assert level(Decimal("1e30"), Decimal("1e-9")) == LEVEL_MAX
    assert float(LEVEL_MAX) == LEVEL_MAX and float(LEVEL_MAX) != float(LEVEL_MAX - 1)


def test_the_better_young_quote_after_fees_is_trusted():
    better = quote("100", "METEORA", fee_bps=20)
    assert judged(quote("100", fee_bps=25), better) is better


@pytest.mark.parametrize(
    "quotes",
    [
        [],
        [quote("100", age=2_001)],
        [quote("0")],
        [quote("-1")],
        [quote("100"), quote("0", "METEORA")],
        [quote("100"), quote("10000", "METEORA")],
        [quote("100"), quote("1", "METEORA")],
        [quote("100"), quote("125.01", "METEORA")],
        [quote("100"), quote("125.01", "METEORA", age=10_000)],
    ],
)
def test_no_price_is_trusted_that_is_missing_old_not_positive_or_contradicted(quotes):
    assert isinstance(judged(*quotes), Distrust)


@pytest.mark.parametrize(
    "other", [quote("125", "METEORA"), quote("80", "METEORA"), quote("10000", "METEORA", age=10_001)]
)
def test_a_quote_is_trusted_beside_one_that_is_near_or_too_old_to_contradict(other):
    assert isinstance(judged(quote("100"), other), Quote)


def test_a_quote_that_contradicts_is_named():
    assert judged(quote("100"), quote("10000", "METEORA")).reason == "METEORA quotes 10000, RAYDIUM 100"


ALL = (Condition(Kind.LAUNCH), Condition(Kind.LIQUIDITY, 5_000), Condition(Kind.VOLUME, 100, 60_000))


@pytest.mark.parametrize(
    ("state", "unmet"),
    [
        (TokenState(0, None, {}), ALL[0]),
        (TokenState(1, None, {}), ALL[1]),
        (TokenState(1, 4_999, {60_000: 100}), ALL[1]),
        (TokenState(1, 5_000, {60_000: 99}), ALL[2]),
        (TokenState(1, 5_000, {}), ALL[2]),
        (TokenState(1, 5_000, {60_000: 100}), None),
    ],
)
def test_the_first_condition_that_does_not_hold_is_the_one_to_watch(state, unmet):
    assert first_unmet(ALL, state) == unmet


@pytest.mark.parametrize("condition", ALL)
def test_a_condition_comes_back_as_it_was_written(condition):
    assert condition_from(condition.as_dict()) == condition


@given(st.integers(0, 10**15))
def test_dollars_and_cents_are_exact(amount):
    assert cents(usd(amount)) == amount


HIGHEST = st.decimals("0.000000000000000001", "1000000000", places=18)


@given(HIGHEST, TICKS, st.sampled_from((-1, 0, 1)), st.integers(1, 45))
def test_whoever_looks_for_orders_a_price_may_fire_misses_none(most, tick, off, digits):
    # The price at which it fires exactly, as closely as so many digits say, and those beside it.
    price = Context(prec=digits).divide(Decimal(1), most)
    price += off * price.scaleb(-digits)
    watch = price_watch(Pair(SOL, USDC, tick), most)
    assert 0 <= watch.at_least <= LEVEL_MAX
    if affords(most, price):
        assert level(price, tick) >= watch.at_least


@given(HIGHEST, TICKS)
def test_an_order_is_not_looked_at_two_ticks_below_its_price(most, tick):
    watch = price_watch(Pair(SOL, USDC, tick), most)
    price = 1 / most - 2 * tick
    if 0 < watch.at_least < LEVEL_MAX - 2 and price > 0:
        assert level(price, tick) < watch.at_least


def test_an_order_that_would_pay_anything_is_looked_at_at_every_price():
    assert price_watch(Pair(SOL, USDC), None).at_least == 0


LIMITS = st.decimals("0.000001", "100000", places=6)


@given(st.integers(1, 10**15), LIMITS, st.integers(1, 10**18), st.integers(0, 5_000))
def test_the_least_a_limit_order_accepts_is_never_worse_than_its_limit(amount, limit, expected, slippage_bps):
    order = Order("id", OrderType.LIMIT, Pair(SOL, USDC), amount, slippage_bps, limit_price=limit)
    least = order.minimum_out(expected)
    assert Decimal(least).scaleb(-6) >= Decimal(amount).scaleb(-9) * limit
    assert least >= expected * (10_000 - slippage_bps) // 10_000


@given(st.integers(1, 10**15), LIMITS)
def test_the_least_a_sniper_order_accepts_is_never_dearer_than_its_highest_price(amount, most):
    order = Order("id", OrderType.SNIPER, Pair(SOL, USDC), amount, 50, max_price=most)
    assert Decimal(order.floor_out).scaleb(-6) * most >= Decimal(amount).scaleb(-9) * (1 - Decimal("1e-30"))
