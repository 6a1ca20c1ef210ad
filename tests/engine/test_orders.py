"""The order itself."""

import pytest

from engine.orders import Order, OrderType
from tests.engine.tokens import SOL_USDC


@pytest.mark.parametrize(("slippage_bps", "least"), [(0, 999), (50, 994), (5_000, 499)])
def test_the_minimum_out_is_the_expected_less_slippage_rounded_down(slippage_bps, least):
    assert Order("1", OrderType.MARKET, SOL_USDC, 10**9, slippage_bps).minimum_out(999) == least


def test_a_minimum_out_is_never_nothing():
    assert Order("1", OrderType.MARKET, SOL_USDC, 1, 5_000).minimum_out(1) == 1
