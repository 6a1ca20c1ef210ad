"""The sandbox market and its venues."""

import os
import subprocess
import sys
from decimal import Decimal
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.money import Token
from engine.quotes import Pair
from routing.sandbox.market import ANCHOR_ATTO_USD, ATTO, DEVIATION_KNOT_MS, Market
from routing.sandbox.venue import SandboxVenue
from routing.venues import FEE_BPS, VENUES, VenueDown
from tests.engine.tokens import BONK, SOL, SOL_USDC, USDC, USDT

NOW = 1_763_800_000_000
JUP = Token("JUP", "JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN", 6)
UNLISTED = Token("NEW", "2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo", 8)
TOKENS = (SOL, USDC, USDT, BONK, JUP, UNLISTED)
PAIRS = st.permutations(TOKENS).map(lambda tokens: Pair(tokens[0], tokens[1]))
MOMENTS = st.integers(min_value=NOW, max_value=NOW + 10 * 365 * 86_400_000)
MARKET, STILL = Market(1, 200, 500), Market(1, 0, 0)
LAST_DIGITS = Decimal("1e-10")
"""Prices have 12 significant digits; three roundings may add up in the last of them."""


def stray(market, venue, pair, at_ms):
    return abs(market.price(venue, pair, at_ms) / market.mid(pair, at_ms) - 1)


@given(st.sampled_from(VENUES), PAIRS, MOMENTS)
def test_a_venue_never_strays_further_than_the_variation_in_either_direction(venue, pair, at_ms):
    assert stray(MARKET, venue, pair, at_ms) <= Decimal("0.05") + LAST_DIGITS


@given(st.sampled_from(VENUES), PAIRS, MOMENTS)
def test_at_its_knots_a_venue_strays_at_least_the_lower_variation(venue, pair, at_ms):
    knot = at_ms - at_ms % DEVIATION_KNOT_MS
    # On the cheap side 2 % below are 1 / 1.02.
    assert stray(MARKET, venue, pair, knot) >= 1 - 1 / Decimal("1.02") - LAST_DIGITS


def test_a_price_moves_at_most_13_bps_in_a_second():
    # Widest from knot to knot, and steepest half-way between two.
    widest = Market(1, 500, 500)
    moments = range(NOW - NOW % DEVIATION_KNOT_MS + DEVIATION_KNOT_MS // 2, NOW + 10**8, DEVIATION_KNOT_MS)
    moves = [
        abs(widest.price("RAYDIUM", SOL_USDC, at_ms + 500) / widest.price("RAYDIUM", SOL_USDC, at_ms - 500) - 1)
        for at_ms in moments
    ]
    assert Decimal("0.0010") < max(moves) < Decimal("0.0013")


@given(st.sampled_from(VENUES), PAIRS, MOMENTS)
def test_the_reverse_pair_has_the_reciprocal_price(venue, pair, at_ms):
    reverse = Pair(pair.token_out, pair.token_in)
    assert abs(MARKET.mid(pair, at_ms) * MARKET.mid(reverse, at_ms) - 1) < LAST_DIGITS
    assert abs(MARKET.price(venue, pair, at_ms) * MARKET.price(venue, reverse, at_ms) - 1) < LAST_DIGITS


@given(st.sampled_from(VENUES), PAIRS, MOMENTS)
def test_without_variation_every_venue_pays_exactly_the_middle_price(venue, pair, at_ms):
    pool = STILL.pool(venue, pair, at_ms)
    assert pool.spot(pair.token_in, pair.token_out) == STILL.mid(pair, at_ms)


@given(st.sampled_from(VENUES), PAIRS, MOMENTS)
def test_a_pools_spot_price_is_its_venues_price(venue, pair, at_ms):
    spot = MARKET.pool(venue, pair, at_ms).spot(pair.token_in, pair.token_out)
    assert spot == MARKET.price(venue, pair, at_ms)


@given(st.sampled_from(sorted(ANCHOR_ATTO_USD)), MOMENTS)
def test_a_middle_price_wanders_a_few_percent_around_its_anchor(symbol, at_ms):
    token = Token(symbol, f"mint of {symbol}", 6)
    around = Decimal(ANCHOR_ATTO_USD[symbol]) / ATTO
    assert abs(STILL.mid(Pair(token, USDC), at_ms) / around - 1) <= Decimal("0.0321")


def test_a_middle_price_does_move_within_hours():
    prices = {STILL.mid(SOL_USDC, NOW + hour * 3_600_000) for hour in range(24)}
    assert max(prices) / min(prices) > Decimal("1.01")


def test_a_middle_price_turns_many_times_a_day():
    prices = [STILL.mid(SOL_USDC, NOW + minute * 60_000) for minute in range(1_440)]
    rises = [later > earlier for earlier, later in pairwise(prices)]
    assert sum(before != after for before, after in pairwise(rises)) > 24


def test_two_venues_seldom_agree():
    better = {
        max(VENUES, key=lambda venue: MARKET.price(venue, SOL_USDC, NOW + at_ms)) for at_ms in range(0, 10**7, 10**5)
    }
    assert better == set(VENUES)


def test_dollars_are_worth_a_dollar():
    assert STILL.mid(Pair(USDC, USDT), NOW) == 1


def test_a_token_nobody_listed_has_a_price_of_its_own():
    price, other = (STILL.mid(Pair(Token("X", mint, 6), USDC), NOW) for mint in ("mint one", "mint two"))
    assert price != other
    assert all(Decimal("0.009") < each < 11 for each in (price, other))


def test_another_seed_is_another_market():
    assert Market(2, 200, 500).price("RAYDIUM", SOL_USDC, NOW) != MARKET.price("RAYDIUM", SOL_USDC, NOW)
    assert Market(2, 0, 0).mid(SOL_USDC, NOW) != STILL.mid(SOL_USDC, NOW)


ASK = f"""
from routing.sandbox.market import Market
from tests.engine.tokens import SOL_USDC
print([str(Market(1, 200, 500).pool(venue, SOL_USDC, {NOW})) for venue in {VENUES}])
"""


def test_two_processes_see_the_same_pools_without_sharing_anything():
    answers = [
        subprocess.run(
            [sys.executable, "-c", ASK],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
        for seed in ("1", "2")
    ]
    assert answers[0] == answers[1] == f"{[str(MARKET.pool(venue, SOL_USDC, NOW)) for venue in VENUES]}\n"


@pytest.mark.parametrize("venue", VENUES)
def test_an_order_of_a_few_hundred_dollars_moves_no_pool_by_a_basis_point(venue):
    pool = MARKET.pool(venue, SOL_USDC, NOW)
    assert Decimal(pool.out(1_500_000_000, 0)) / (1500 * pool.out(1_000_000, 0)) > Decimal("0.9999")


@pytest.mark.parametrize("venue", VENUES)
def test_an_order_of_a_million_dollars_pays_for_its_size_and_is_filled(venue):
    pool = STILL.pool(venue, Pair(USDC, SOL), NOW)
    small, large = pool.out(10**9, 0), pool.out(10**12, 0)
    assert Decimal("0.95") < Decimal(large) / (1000 * small) < Decimal("0.99")


class Clock:
    def __init__(self):
        self.ms = NOW
        self.waits = []

    def __call__(self):
        return self.ms

    async def asleep(self, seconds):
        self.waits.append(seconds)
        self.ms += round(seconds * 1000)


@pytest.fixture
def clock():
    return Clock()


def venue_of(clock, name="METEORA", delay_ms=(2_000, 3_000), down=()):
    return SandboxVenue(name, MARKET, delay_ms, clock, Random(1), down.__contains__, clock.asleep)


async def test_a_quote_is_the_pool_of_the_moment_it_is_answered(clock):
    quote = await venue_of(clock).quote(SOL_USDC)
    assert NOW + 2_000 <= quote.observed_at <= NOW + 3_000
    assert quote.requested_at == NOW
    assert quote.pool == MARKET.pool("METEORA", SOL_USDC, quote.observed_at)
    assert quote.price == MARKET.price("METEORA", SOL_USDC, quote.observed_at)
    assert (quote.venue, quote.pair, quote.fee_bps) == ("METEORA", "SOL-USDC", FEE_BPS["METEORA"])


async def test_delays_differ_and_fill_their_range(clock):
    venue = venue_of(clock)
    for _ in range(200):
        await venue.quote(SOL_USDC)
    assert 2.0 <= min(clock.waits) < 2.05
    assert 2.95 < max(clock.waits) <= 3.0


async def test_without_a_delay_nothing_waits(clock):
    await venue_of(clock, delay_ms=(0, 0)).quote(SOL_USDC)
    assert clock.waits == []


async def test_a_venue_that_is_down_refuses_at_once_and_the_other_answers(clock):
    with pytest.raises(VenueDown, match="RAYDIUM"):
        await venue_of(clock, "RAYDIUM", down=("RAYDIUM",)).quote(SOL_USDC)
    assert clock.waits == []
    assert (await venue_of(clock, "METEORA", down=("RAYDIUM",)).quote(SOL_USDC)).venue == "METEORA"
