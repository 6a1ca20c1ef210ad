"""What pools pay."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.amm import MAX_BINS, Q64, Bins, ConstantProduct, PoolExhausted, pool_from
from tests.engine.tokens import SOL, USDC

RESERVES = st.integers(min_value=10**6, max_value=10**18)
AMOUNTS = st.integers(min_value=1, max_value=10**18)
FEES = st.integers(min_value=0, max_value=500)
PRODUCTS = st.builds(ConstantProduct, RESERVES, RESERVES)
BINS = st.builds(
    Bins,
    st.integers(min_value=Q64 // 10**9, max_value=Q64 * 10**9),
    st.integers(min_value=1, max_value=100),
    st.integers(min_value=1, max_value=10**15),
)
POOLS = PRODUCTS | BINS


def paid(pool, amount_in, fee_bps):
    try:
        return pool.out(amount_in, fee_bps)
    except PoolExhausted:
        assume(False)


@given(PRODUCTS, AMOUNTS, FEES)
def test_a_swap_never_lowers_the_product_of_the_reserves(pool, amount_in, fee_bps):
    amount_out = paid(pool, amount_in, fee_bps)
    assert (pool.reserve_in + amount_in) * (pool.reserve_out - amount_out) >= pool.reserve_in * pool.reserve_out


@given(POOLS, AMOUNTS, AMOUNTS, FEES)
def test_more_in_never_pays_less(pool, amount_in, more, fee_bps):
    assert paid(pool, amount_in + more, fee_bps) >= paid(pool, amount_in, fee_bps)


@given(POOLS, AMOUNTS, st.integers(min_value=1, max_value=500))
def test_a_fee_never_pays_more(pool, amount_in, fee_bps):
    assert paid(pool, amount_in, fee_bps) <= paid(pool, amount_in, 0)


@given(BINS, AMOUNTS)
def test_bins_never_pay_above_the_active_price(pool, amount_in):
    assert paid(pool, amount_in, 0) * Q64 <= amount_in * pool.price_q64


@given(BINS, AMOUNTS)
def test_bins_never_pay_more_than_they_hold(pool, amount_in):
    assert paid(pool, amount_in, 0) <= MAX_BINS * pool.bin_out


def test_a_raydium_swap_pays_what_the_formula_says_after_the_fee():
    # 1,000 in less 0.25 % are 997; 2,000,000 * 997 / 1,000,997 = 1992.01...
    assert ConstantProduct(1_000_000, 2_000_000).out(1_000, 25) == 1_992


def test_a_meteora_swap_within_the_active_bin_has_no_price_impact():
    assert Bins(2 * Q64, 10, 10**9).out(1_000, 0) == 2_000


def test_a_meteora_swap_past_the_active_bin_pays_the_next_ones_price():
    # 500 of 1,000 in empty the bin of 1,000 at 2; the other 500 are paid at half of that.
    assert Bins(2 * Q64, 5_000, 1_000).out(1_000, 0) == 1_000 + 500


def test_an_amount_that_crosses_too_many_bins_is_not_paid():
    with pytest.raises(PoolExhausted, match=f"more than {MAX_BINS} bins"):
        Bins(Q64, 1, 10).out(10 * MAX_BINS + 100, 0)


@pytest.mark.parametrize("pool", [ConstantProduct(10**12, 10**6), Bins(Q64 // 10**6, 10, 10**6)])
def test_an_amount_worth_less_than_one_base_unit_is_not_paid(pool):
    with pytest.raises(PoolExhausted, match="too small"):
        pool.out(10, 0)


@pytest.mark.parametrize(
    "pool",
    [ConstantProduct(1_000 * 10**9, 155_000 * 10**6), Bins(round(Decimal("0.155") * Q64), 10, 10**12)],
)
def test_the_spot_price_is_in_whole_tokens(pool):
    assert pool.spot(SOL, USDC) == Decimal("155")


@given(POOLS)
def test_a_pool_comes_back_from_the_cache_as_it_went_in(pool):
    assert pool_from(pool.as_dict()) == pool


@given(POOLS, st.integers(1, 10**15), st.integers(0, 500))
def test_the_input_for_an_exact_output_is_the_smallest_that_pays_it(pool, amount_out, fee_bps):
    try:
        needed = pool.needed(amount_out, fee_bps)
    except PoolExhausted:
        return
    assert pool.out(needed, fee_bps) >= amount_out
    if isinstance(pool, ConstantProduct) and needed > 1:
        assert paid_or_0(pool, needed - 1, fee_bps) < amount_out


def paid_or_0(pool, amount_in, fee_bps):
    try:
        return pool.out(amount_in, fee_bps)
    except PoolExhausted:
        return 0


def test_a_pool_does_not_sell_all_it_has():
    with pytest.raises(PoolExhausted, match="does not hold"):
        ConstantProduct(10, 1_000).needed(1_000, 25)
    assert Bins(2 * Q64, 5_000, 1_000).needed(1_500, 0) == 1_000
    with pytest.raises(PoolExhausted, match=f"more than {MAX_BINS} bins"):
        Bins(Q64, 1, 10).needed(10 * MAX_BINS + 1, 0)
