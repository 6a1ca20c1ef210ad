"""The quote cache: what it keeps, and which quote is BEST."""

from dataclasses import replace
from decimal import Decimal

import pytest

from routing import quotes
from routing.store import now_ms, redis


@pytest.fixture
def quote(bench):
    """Make a quote that is observed so long ago, at a price."""
    pattern = bench.quote("RAYDIUM")
    redis().flushdb()

    def make(venue, price, fee_bps=0, age_ms=0):
        at = now_ms() - age_ms
        return replace(pattern, venue=venue, price=Decimal(price), fee_bps=fee_bps, requested_at=at, observed_at=at)

    return make


def best():
    return quotes.cached(["SOL-USDC"])["SOL-USDC"].best


def last(venue):
    return next((q for q in quotes.cached(["SOL-USDC"])["SOL-USDC"].quotes if q.venue == venue), None)


def test_a_quote_comes_back_as_it_was_kept(quote):
    kept = quote("RAYDIUM", "155.123456789", 25)
    assert quotes.store(kept) is True
    assert last("RAYDIUM") == best() == kept


def test_a_pair_nobody_quoted_has_neither_quotes_nor_best(bench):
    assert quotes.cached(["SOL-USDC"])["SOL-USDC"] == quotes.Cached((), None)


def test_several_pairs_are_read_in_one_go_each_with_its_own(quote):
    quotes.store(quote("RAYDIUM", "155"))
    quotes.store(replace(quote("METEORA", "0.9"), pair="JUP-USDC"))
    found = quotes.cached(["SOL-USDC", "JUP-USDC", "SOL-USDC"])
    assert [found[pair].best.venue for pair in ("SOL-USDC", "JUP-USDC")] == ["RAYDIUM", "METEORA"]


def test_best_is_the_highest_price_less_fee_not_the_highest_price(quote):
    quotes.store(quote("RAYDIUM", "100.00", 100))
    quotes.store(quote("METEORA", "99.50", 10))
    assert best().venue == "METEORA"


@pytest.mark.parametrize("order", [("RAYDIUM", "METEORA"), ("METEORA", "RAYDIUM")])
def test_best_does_not_depend_on_who_answers_last(quote, order):
    prices = {"RAYDIUM": "101", "METEORA": "100"}
    for venue in order:
        quotes.store(quote(venue, prices[venue]))
    assert best().venue == "RAYDIUM"


def test_best_follows_when_its_venue_lowers_its_price(quote):
    quotes.store(quote("RAYDIUM", "101", age_ms=200))
    quotes.store(quote("METEORA", "100", age_ms=100))
    quotes.store(quote("RAYDIUM", "99"))
    assert (best().venue, best().price) == ("METEORA", Decimal(100))


def test_a_later_observation_is_never_replaced_by_an_earlier_one(quote):
    quotes.store(quote("RAYDIUM", "100", age_ms=100))
    assert quotes.store(quote("RAYDIUM", "200", age_ms=500)) is False
    assert last("RAYDIUM").price == best().price == Decimal(100)


def test_a_venue_that_stopped_answering_leaves_best(quote, settings):
    quotes.store(quote("RAYDIUM", "200", age_ms=settings.QUOTE_FRESH_MS + 100))
    quotes.store(quote("METEORA", "100"))
    assert best().venue == "METEORA"
    assert last("RAYDIUM").price == Decimal(200)


def test_there_is_no_best_when_nothing_is_young_enough(quote, settings):
    quotes.store(quote("RAYDIUM", "200", age_ms=settings.QUOTE_FRESH_MS + 100))
    assert best() is None


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        # Equal as floats would be.
        ("9007199254740992", "9007199254740993"),
        ("0.100000000001", "0.100000000002"),
        # Neither as text nor by length.
        ("9.5", "10.5"),
        ("0.0000000000000000000123", "0.0000000000000000000124"),
    ],
)
def test_prices_are_compared_exactly(quote, monkeypatch, lower, higher):
    monkeypatch.setattr("engine.quotes.PRICE_DIGITS.prec", 28)
    quotes.store(quote("RAYDIUM", higher))
    quotes.store(quote("METEORA", lower))
    assert best().venue == "RAYDIUM"
    redis().flushdb()
    quotes.store(quote("RAYDIUM", lower))
    quotes.store(quote("METEORA", higher))
    assert best().venue == "METEORA"


@pytest.mark.parametrize("price", ["0", "-1"])
def test_a_price_of_nothing_is_never_best(quote, price):
    quotes.store(quote("RAYDIUM", price))
    assert best() is None
    quotes.store(quote("METEORA", "0.0001"))
    assert best().venue == "METEORA"


def test_best_vanishes_when_the_only_venue_quotes_nothing(quote):
    quotes.store(quote("RAYDIUM", "100", age_ms=100))
    quotes.store(quote("RAYDIUM", "0"))
    assert best() is None


def test_quotes_nobody_renews_leave_redis_by_themselves(quote):
    quotes.store(quote("RAYDIUM", "100"))
    for name in ("RAYDIUM", "BEST"):
        assert 0 < redis().pttl(quotes.key("SOL-USDC", name)) <= quotes.TTL_MS


def test_the_cache_goes_on_after_redis_forgot_its_scripts(quote):
    quotes.store(quote("RAYDIUM", "100"))
    redis().script_flush()
    redis().flushall()
    assert quotes.store(quote("METEORA", "101")) is True
    assert best().venue == "METEORA"


def test_quotes_stored_together_are_stored_as_each_alone(quote):
    together = [quote("RAYDIUM", "100", age_ms=100), quote("RAYDIUM", "200", age_ms=500), quote("METEORA", "101")]
    assert [one and (one.quote, one.best) for one in quotes.store_all(together)] == [
        (together[0], 100),
        None,
        (together[2], 101),
    ]
    found = quotes.cached(["SOL-USDC"])["SOL-USDC"]
    assert {one.venue: one.price for one in found.quotes} == {"RAYDIUM": 100, "METEORA": 101}
    assert found.best.venue == "METEORA"
