"""Amounts and prices."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import money
from engine.money import BadAmount
from tests.engine.tokens import BONK, SOL, USDC

UNITS = st.integers(min_value=1, max_value=money.U64_MAX)


@given(UNITS, st.sampled_from([SOL, USDC, BONK]))
def test_every_u64_amount_survives_the_way_to_whole_tokens_and_back(units, token):
    assert money.to_units(money.from_units(units, token), token) == units
    assert money.to_units(Decimal(money.shown(units, token)), token) == units


@pytest.mark.parametrize("text", ["0", "-1", "-0", "NaN", "sNaN", "Infinity", "-Infinity"])
def test_an_amount_that_is_not_above_zero_is_refused(text):
    with pytest.raises(BadAmount, match="greater than zero"):
        money.to_units(Decimal(text), SOL)


@pytest.mark.parametrize("text", ["1.0000000001", "1E-10", "1E-999999999"])
def test_digits_below_one_base_unit_are_refused_and_the_decimals_named(text):
    with pytest.raises(BadAmount, match="SOL has 9 decimals"):
        money.to_units(Decimal(text), SOL)


def test_a_digit_too_far_out_to_calculate_with_is_refused_rather_than_lost():
    with pytest.raises(BadAmount, match="too many digits"):
        money.to_units(Decimal("1." + "0" * 60 + "1"), SOL)


def test_trailing_zeros_are_no_digits():
    assert money.to_units(Decimal("1." + "5" + "0" * 60), SOL) == 1_500_000_000


@pytest.mark.parametrize("text", ["18446744073.709551616", "1E+11", "1E+999999999"])
def test_an_amount_past_u64_is_refused_with_the_largest_accepted(text):
    with pytest.raises(BadAmount, match=r"at most 18446744073\.709551615 SOL"):
        money.to_units(Decimal(text), SOL)


def test_the_largest_u64_amount_is_accepted():
    assert money.to_units(Decimal("18446744073.709551615"), SOL) == money.U64_MAX


@pytest.mark.parametrize(
    ("value", "text"),
    [("1.50", "1.5"), ("1.2E-7", "0.00000012"), ("1E+3", "1000"), ("100", "100"), ("0.000", "0")],
)
def test_a_shown_decimal_has_no_exponent_and_no_idle_zeros(value, text):
    assert money.plain(Decimal(value)) == text


def test_a_price_counts_whole_tokens_on_both_sides():
    assert money.price_of(1_500_000_000, 232_500_000, SOL, USDC) == Decimal("155")


@given(UNITS, st.integers(min_value=0, max_value=money.BPS))
def test_basis_points_are_taken_off_against_the_taker(amount, bps):
    exact = amount * (money.BPS - bps)
    assert 0 <= exact - money.less_bps(amount, bps) * money.BPS < money.BPS


@pytest.mark.parametrize(("actual", "bps"), [(1000, "0.00"), (995, "50.00"), (1001, "-10.00")])
def test_a_shortfall_is_positive_and_an_improvement_negative(actual, bps):
    assert str(money.shortfall_bps(1000, actual)) == bps
