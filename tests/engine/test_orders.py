"""The order itself."""

import pytest

from engine.orders import Order, OrderType
from tests.engine.tokens import SOL_USDC


@pytest.mark.parametrize(("slippage_bps", "least"), [(0, 999), (50, 994), (5_000, 499)])
def test_the_minimum_out_is_the_expected_less_slippage_rounded_down(slippage_bps, least):
    assert Order("1", OrderType.MARKET, SOL_USDC, 10**9, slippage_bps).minimum_out(999) == least


def test_a_minimum_out_is_never_nothing():
    assert Order("1", OrderType.MARKET, SOL_USDC, 1, 5_000).minimum_out(1) == 1


@pytest.mark.parametrize(("amount", "most"), [(10_000, 1_006), (1_003, 1_003)])
def test_an_exact_output_takes_its_slippage_more_than_quoted_rounded_up_and_no_more_than_the_order_may_spend(
    amount, most
):
    order = Order("1", OrderType.MARKET, SOL_USDC, amount, 51, amount_out=77)
    assert (order.maximum_in(1_000), order.minimum_out(77)) == (most, 77)


def test_an_order_without_an_exact_output_sells_its_amount():
    assert Order("1", OrderType.MARKET, SOL_USDC, 10, 5_000).maximum_in(3) == 10
