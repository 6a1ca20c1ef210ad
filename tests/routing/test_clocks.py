"""A store whose clock steps back: what was observed by the old clock is not believed, and keeps nothing newer out."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from engine.market import EventKind, MarketEvent
from engine.quotes import AHEAD_MAX_MS
from engine.triggers import TokenState
from orders.flow import limits, sniping
from routing import quotes, router, tape
from routing.models import TokenMarket
from routing.store import DOUBTED_S, now_ms, redis
from tests.orders.sniping import LAUNCH, Market, list_token, new_mint, volume

PAIR = "SOL-USDC"
HOUR = 3_600_000
MINT = "HZ1JovNiVvGrGNiiYvEozEVgZ58xaU3RKwX8eACQBCt3"


@pytest.fixture
def quote(bench):
    """Make a quote at a price, observed so far ahead of the store's clock."""
    pattern = bench.quote("METEORA")
    redis().flushdb()

    def make(price, ahead_ms=0, venue="METEORA"):
        at = now_ms() + ahead_ms
        return replace(pattern, venue=venue, price=Decimal(price), fee_bps=0, requested_at=at, observed_at=at)

    return make


def step_back(*found):
    """Have these quotes been stored before the store's clock stepped back by an hour."""
    for one in found:
        for name in (one.venue, "BEST"):
            redis().hset(
                quotes.key(PAIR, name), mapping=quotes.fields(replace(one, observed_at=one.observed_at + HOUR))
            )


def best():
    return quotes.cached([PAIR])[PAIR].best


def test_a_quote_from_the_future_gives_way_to_a_newer_one(quote):
    step_back(quote("200"))
    assert quotes.store(quote("150")) is True
    assert best().price == 150


def test_a_quote_from_the_future_is_never_best(quote):
    step_back(quote("200"))
    quotes.store(quote("150", venue="RAYDIUM"))
    assert best().price == 150


def test_a_quote_from_the_future_is_not_kept(quote):
    quotes.store(quote("150"))
    assert quotes.store(quote("200", ahead_ms=AHEAD_MAX_MS + 500)) is False
    assert best().price == 150
    assert quotes.store(quote("151", ahead_ms=AHEAD_MAX_MS // 2)) is True


def test_a_clock_that_is_found_ahead_of_the_stores_is_read_again(quote, monkeypatch):
    monkeypatch.setattr(now_ms, "offset_ms", now_ms.offset_ms + HOUR)
    monkeypatch.setattr(now_ms, "synced_at", time.monotonic() - DOUBTED_S)
    monkeypatch.setattr(now_ms, "due_s", now_ms.resync_s)
    assert quotes.store(quote("150")) is False
    assert quotes.store(quote("151")) is True


def test_no_order_is_routed_on_a_quote_from_the_future(quote):
    step_back(quote("200"))
    assert router.from_cache([PAIR], now_ms(), 2_000, 10_000) == {}


def test_no_limit_order_fires_on_a_quote_from_the_future(bench, quote):
    (order_id,) = bench.accept(bench.limit("150"))
    step_back(quote("200"))
    limits.check()
    assert bench.statuses(order_id) == ["pending"]
    bench.price("151")
    limits.check()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def reading(dollars, at):
    return MarketEvent(f"{dollars}-{at}", EventKind.LIQUIDITY, MINT, "RAYDIUM", dollars * 100, at)


def told_before_step_back(event, monkeypatch):
    """Have an event been told when the store's clock was ahead by an hour."""
    tape.publish([replace(event, at=now_ms())])
    key = f"market:{{{event.mint}}}"
    for name, value in redis().hgetall(key).items():
        if name in ("read_at", "liquidity_at"):
            redis().hset(key, name, int(value) + HOUR)
        if name.startswith("pool:"):
            at, _, amount = value.partition(":")
            redis().hset(key, name, f"{int(at) + HOUR}:{amount}")
    TokenMarket.objects.update(observed_at=datetime.now(UTC) + timedelta(milliseconds=HOUR))


def state(*windows):
    return tape.states({MINT: windows}, now_ms())[MINT]


def test_a_reading_from_the_future_is_unknown_and_gives_way_to_a_newer_one(bench, monkeypatch):
    told_before_step_back(reading(900, now_ms()), monkeypatch)
    assert state() == TokenState(1, None, {})
    tape.publish([reading(100, now_ms())])
    assert state().liquidity == 100_00
    row = TokenMarket.objects.get()
    assert (row.liquidity, row.observed_at <= datetime.now(UTC) + timedelta(seconds=1)) == (100_00, True)


def test_a_pool_from_the_future_is_there_and_adds_to_no_newer_reading(bench, monkeypatch):
    told_before_step_back(MarketEvent("p", EventKind.POOL, MINT, "", 70_00, 0), monkeypatch)
    assert state() == TokenState(1, None, {})
    tape.publish([reading(100, now_ms())])
    assert state() == TokenState(1, 100_00, {})


def test_a_row_from_the_future_is_not_believed_by_a_redis_that_was_emptied(bench, monkeypatch):
    told_before_step_back(reading(900, now_ms()), monkeypatch)
    redis().flushdb()
    assert state().liquidity is None


def test_a_reading_that_comes_from_the_future_is_not_taken(bench):
    tape.publish([reading(100, now_ms() - 10)])
    tape.publish([reading(900, now_ms() + HOUR)])
    assert state().liquidity == 100_00
    assert TokenMarket.objects.get().liquidity == 100_00


def test_an_event_from_the_future_makes_no_other_knowledge_old(bench):
    mint = new_mint()
    list_token(mint)
    market = Market(mint)
    market.worth(60_000)
    market.trade(500)
    (order_id,) = bench.accept(bench.snipe(mint, LAUNCH, volume(500, 60)))
    tape.publish([MarketEvent("t", EventKind.TRADE, mint, "", 1, now_ms() + HOUR)])
    sniping.match()
    assert bench.statuses(order_id) == ["pending", "triggered"]
