"""Choosing a venue: which quotes may be used, and which wins."""

from dataclasses import replace
from decimal import Decimal

import pytest

from engine.quotes import NoQuote
from routing import router
from routing.quotes import Cached
from routing.router import Basis, Source
from routing.store import now_ms
from routing.venues import Silence

NOW = 1_000_000
FRESH, STALE = 2_000, 10_000


@pytest.fixture
def quote(bench):
    pattern = bench.quote("RAYDIUM")

    def make(venue, age_ms=0, price=None):
        return replace(pattern, venue=venue, observed_at=NOW - age_ms, price=pattern.price if price is None else price)

    return make


def judged(*found):
    fresh = [q for q in found if NOW - q.observed_at <= FRESH]
    return router.basis(Cached(tuple(found), fresh[0] if fresh else None), NOW, FRESH, STALE)


def test_fresh_quotes_are_routed_on_at_once(quote):
    both = quote("RAYDIUM", 100), quote("METEORA", FRESH)
    assert judged(*both) == Basis(Source.BEST, both)


def test_beside_a_fresh_quote_an_older_one_is_left_out(quote):
    fresh, old = quote("METEORA", 100), quote("RAYDIUM", FRESH + 1)
    assert judged(fresh, old) == Basis(Source.BEST, (fresh,))


def test_without_a_fresh_quote_the_last_ones_serve_within_the_stated_age(quote):
    within, beyond = quote("METEORA", STALE), quote("RAYDIUM", STALE + 1)
    assert judged(within, beyond) == Basis(Source.LAST, (within,))


def test_quotes_past_the_stated_age_are_not_used(quote):
    assert judged(quote("METEORA", STALE + 1), quote("RAYDIUM", STALE + 1)) is None


def test_an_empty_cache_is_no_basis():
    assert router.basis(Cached((), None), NOW, FRESH, STALE) is None


def test_quotes_without_a_price_are_no_basis(quote):
    assert judged(quote("METEORA", 100, Decimal(0))) is None


def test_the_cache_is_asked_for_all_pairs_and_names_those_it_can_serve(bench):
    bench.quote_all()
    assert set(router.from_cache({"SOL-USDC", "JUP-USDC"}, now_ms(), FRESH, STALE)) == {"SOL-USDC"}


def test_the_venue_that_pays_most_for_this_amount_wins(bench):
    quotes = bench.quote("RAYDIUM"), bench.quote("METEORA")
    chosen = router.choose(Basis(Source.BEST, quotes), 1_500_000_000)
    assert chosen.winner.amount_out == max(offer.amount_out for offer in chosen.offers)
    assert chosen.winner.quote.venue == "METEORA"
    assert chosen.reason.startswith("METEORA pays") and "more than RAYDIUM" in chosen.reason


def test_the_venue_that_takes_least_for_an_exact_amount_wins(bench):
    quotes = bench.quote("RAYDIUM"), bench.quote("METEORA")
    chosen = router.choose(Basis(Source.BEST, quotes), 1, 150_000_000)
    assert chosen.winner.amount_in == min(offer.amount_in for offer in chosen.offers)
    assert chosen.winner.quote.venue == "METEORA"
    assert chosen.reason.startswith("RAYDIUM takes") and "more than METEORA" in chosen.reason


def test_a_single_quote_wins_for_want_of_another(bench):
    chosen = router.choose(Basis(Source.BEST, (bench.quote("RAYDIUM"),)), 1_500_000_000)
    assert chosen.reason.startswith("only RAYDIUM")


def test_without_any_answer_there_is_no_route_and_each_venues_reason_is_told():
    with pytest.raises(NoQuote, match="RAYDIUM is down; METEORA did not answer"):
        router.choose(
            router.asked([Silence("RAYDIUM", "RAYDIUM is down"), Silence("METEORA", "METEORA did not answer")]), 1
        )
