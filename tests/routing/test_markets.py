"""What Postgres keeps of tokens' markets: the newest that was seen, told again to a Redis that has lost it."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from engine.market import EventKind, MarketEvent
from engine.triggers import TokenState
from routing import markets, tape
from routing.markets import Shown
from routing.models import TokenMarket
from routing.store import now_ms, redis

MINT = "HZ1JovNiVvGrGNiiYvEozEVgZ58xaU3RKwX8eACQBCt3"
OTHER = "2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo"
DAY_MS = 86_400_000

pytestmark = pytest.mark.usefixtures("bench")


def event(kind, amount, at, mint=MINT):
    return MarketEvent(f"{kind}-{at}-{amount}", EventKind(kind), mint, "RAYDIUM", amount, at)


def state(mint=MINT, *windows):
    return tape.states({mint: windows}, now_ms())[mint]


def kept():
    return {shown.mint: (shown.pools, shown.liquidity) for shown in markets.load([MINT, OTHER])}


def test_what_a_token_showed_is_kept_to_the_millisecond():
    at = now_ms() - 7
    tape.publish([event("pool", 5_000, at - 5), event("liquidity", 6_000, at), event("pool", 9, at, OTHER)])
    assert markets.load([MINT]) == [Shown(MINT, 1, 6_000, at)]
    assert kept() == {MINT: (1, 6_000), OTHER: (1, 9)}


def test_a_token_that_is_only_traded_is_not_kept():
    tape.publish([event("trade", 5, now_ms())])
    assert kept() == {}


def test_an_older_observation_never_replaces_a_newer_one_in_whichever_order_they_are_kept():
    now = now_ms()
    shown = [Shown(MINT, n, 100 * n, now - 1_000 + n) for n in range(1, 9)]
    random.Random(1).shuffle(shown)
    for one in shown:
        markets.save([one], now)
    assert kept() == {MINT: (8, 800)}


def test_an_emptied_redis_adds_what_comes_later_to_what_was_kept():
    now = now_ms()
    tape.publish([event("pool", 5_000, now - 40), event("liquidity", 6_000, now - 30)])
    redis().flushdb()
    tape.publish([event("pool", 70, now - 20)])
    assert state() == TokenState(2, 6_070, {})
    assert kept() == {MINT: (2, 6_070)}


def test_what_is_told_again_after_redis_was_emptied_counts_once():
    now = now_ms()
    told = [event("pool", 5_000, now - 40), event("pool", 500, now - 30)]
    tape.publish(told)
    redis().flushdb()
    tape.publish(told)
    assert state() == TokenState(2, 5_500, {})


def test_what_nobody_has_heard_of_leaves_nothing_behind_when_it_is_asked_for():
    assert state("nobody") == TokenState(0, None, {})
    assert redis().keys("market:*") == []


def test_redis_is_told_once_and_not_with_every_look(django_assert_num_queries):
    tape.publish([event("liquidity", 6_000, now_ms()), event("trade", 5, now_ms(), OTHER)])
    redis().delete(f"market:{{{MINT}}}", f"market:{{{OTHER}}}")
    with django_assert_num_queries(1):
        assert tape.states({MINT: (), OTHER: ()}, now_ms())[MINT].liquidity == 6_000
    with django_assert_num_queries(0):
        assert tape.states({MINT: (), OTHER: ()}, now_ms())[MINT].liquidity == 6_000


def test_what_redis_is_told_again_has_an_end_there_too():
    tape.publish([event("liquidity", 6_000, now_ms())])
    redis().flushdb()
    assert state().liquidity == 6_000
    assert 0 < redis().ttl(f"market:{{{MINT}}}") <= tape.KEEP_S


def test_what_nobody_has_seen_for_a_week_is_dropped(monkeypatch):
    old = Shown(OTHER, 1, 9, now_ms() - tape.KEEP_S * 1000 - DAY_MS)
    markets.save([old], now_ms())
    monkeypatch.setattr(markets.tidying, "due_at", 0.0)
    tape.publish([event("liquidity", 6_000, now_ms())])
    assert set(kept()) == {MINT}
    assert TokenMarket.objects.get().observed_at > datetime.now(UTC) - timedelta(minutes=1)
