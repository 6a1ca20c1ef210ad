"""Which quote is the best."""

from decimal import Decimal

import pytest

from engine.amm import ConstantProduct
from engine.quotes import AGE_MAX_MS, AHEAD_MAX_MS, CannotFill, NoQuote, Quote, best, offers
from engine.risk_limits import TABLE

POOL = ConstantProduct(10**12, 10**12)


def quote(venue="RAYDIUM", price="155", fee_bps=25, pool=POOL, observed_at=1_000):
    return Quote(venue, "SOL-USDC", Decimal(price), fee_bps, pool, 0, observed_at)


def test_the_best_quote_is_the_one_that_leaves_most_after_its_fee():
    dearer, cheaper = quote("RAYDIUM", "155.00", fee_bps=25), quote("METEORA", "154.95", fee_bps=20)
    assert best([dearer, cheaper]) is cheaper


def test_of_equal_quotes_the_first_is_the_best():
    first, second = quote("RAYDIUM"), quote("METEORA")
    assert best([first, second]) is first


def test_a_quote_without_a_price_is_never_the_best():
    assert best([quote(price="0")]) is None
    assert best([]) is None


def test_the_net_price_is_the_price_less_the_fee():
    assert quote(price="100", fee_bps=25).net_price == Decimal("99.75")


def test_a_clock_that_runs_ahead_a_little_makes_no_negative_age():
    assert quote(observed_at=1_000).age(1_500) == 500
    assert quote(observed_at=1_000).age(900) == 0
    assert quote(observed_at=AHEAD_MAX_MS).age(0) == 0


def test_a_quote_from_further_in_the_future_is_older_than_any_limit():
    assert quote(observed_at=AHEAD_MAX_MS + 1).age(0) == AGE_MAX_MS
    assert all(limit.high < AGE_MAX_MS for limit in TABLE.values() if limit.unit == "ms")


def test_offers_are_sized_for_the_order_and_come_best_first():
    shallow = quote("RAYDIUM", "2", fee_bps=0, pool=ConstantProduct(1_000, 2_000))
    deep = quote("METEORA", "1.5", fee_bps=0, pool=ConstantProduct(10**9, 15 * 10**8))
    assert [(offer.quote.venue, offer.amount_out) for offer in offers([shallow, deep], 1_000)] == [
        ("METEORA", 1_499),
        ("RAYDIUM", 1_000),
    ]


def test_for_an_exact_output_the_offer_that_takes_least_comes_first():
    dear = quote("RAYDIUM", "1", fee_bps=0, pool=ConstantProduct(2_000, 2_000))
    cheap = quote("METEORA", "1", fee_bps=0, pool=ConstantProduct(10**9, 10**9))
    empty = quote("EMPTY", "1", fee_bps=0, pool=ConstantProduct(10**9, 1_000))
    found = offers([dear, empty, cheap], 1, 1_000)
    assert [(one.quote.venue, one.amount_in, one.amount_out) for one in found] == [
        ("METEORA", 1_001, 1_000),
        ("RAYDIUM", 2_000, 1_000),
    ]


def test_a_pool_that_cannot_pay_is_left_out_of_the_offers():
    empty = quote("RAYDIUM", pool=ConstantProduct(10**12, 1))
    assert [offer.quote.venue for offer in offers([empty, quote("METEORA")], 1_000)] == ["METEORA"]


@pytest.mark.parametrize(("price", "fee_bps"), [("0", 25), ("-1", 25), ("155", 10_000)])
def test_a_quote_that_leaves_nothing_makes_no_offer(price, fee_bps):
    nothing = quote(price=price, fee_bps=fee_bps)
    assert [offer.quote.venue for offer in offers([nothing, quote("METEORA")], 1_000)] == ["METEORA"]
    with pytest.raises(NoQuote):
        offers([nothing], 1_000)


def test_no_offer_at_all_says_what_each_venue_lacked():
    with pytest.raises(CannotFill, match="RAYDIUM: the amount is too small"):
        offers([quote("RAYDIUM", pool=ConstantProduct(10**12, 1))], 1_000)
    with pytest.raises(NoQuote, match="no venue has quoted"):
        offers([], 1_000)
