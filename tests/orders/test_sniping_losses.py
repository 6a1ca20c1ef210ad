"""What a sniper order does when Redis loses what the market had shown: it goes on, or waits, and fails for it never."""

import pytest
from django.db import OperationalError

from engine.market import EventKind, MarketEvent
from engine.triggers import Condition, Kind
from orders.flow import recovery, sniping
from orders.flow.sweep import sweep
from routing import markets, tape
from routing.catalogue import catalogue
from routing.models import TokenMarket
from routing.store import now_ms, redis
from tests.orders.sniping import LAUNCH, Market, liquidity, list_token, new_mint, volume


def lose_redis(bench):
    """Empty Redis after DBSync has written what there was, and let the engine find out."""
    bench.archive()
    redis().flushdb()
    recovery.recover()


def test_an_order_fires_after_a_flush_on_what_the_market_had_shown_before(bench, nova):
    nova.worth(100_000)
    (order_id,) = bench.accept(bench.snipe(nova.mint, volume(10_000, 60)))
    lose_redis(bench)
    nova.trade(10_000)
    assert bench.statuses(order_id) == ["pending", "triggered"]
    assert {gate["gate"]: gate["value"] for gate in bench.events(order_id)[-1]["gates"]}["liquidity"] == "100000"


def test_a_token_that_had_been_launched_is_still_launched_after_a_flush(bench, nova):
    nova.pool(50_000)
    redis().flushdb()
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH, liquidity(50_000)))
    sniping.evaluate([order_id])
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_what_was_traded_is_lost_with_redis_and_the_order_waits_for_more(bench, nova):
    nova.worth(100_000)
    (order_id,) = bench.accept(bench.snipe(nova.mint, volume(10_000, 60)))
    nova.trade(9_000)
    lose_redis(bench)
    nova.trade(9_999)
    assert bench.statuses(order_id) == ["pending"]
    nova.trade(1)
    assert bench.statuses(order_id) == ["pending", "triggered"]


@pytest.mark.parametrize("condition", [LAUNCH, volume(10_000, 60)])
def test_an_order_whose_token_is_worth_nobody_knows_what_waits_until_the_market_shows_it(bench, nova, condition):
    nova.worth(100_000)
    (order_id,) = bench.accept(bench.snipe(nova.mint, condition))
    lose_redis(bench)
    TokenMarket.objects.all().delete()
    nova.trade(10_000)
    nova.trade(10_000)
    assert bench.statuses(order_id) == ["pending"]
    nova.worth(100_000)
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_what_is_known_against_a_token_refuses_it_though_its_worth_is_unknown(bench):
    mint = new_mint()
    list_token(mint, mint_authority="Somebody")
    (order_id,) = bench.accept(bench.snipe(mint, LAUNCH))
    Market(mint).trade(10)
    assert bench.statuses(order_id) == ["pending", "triggered", "failed"]


def test_an_order_that_allows_what_is_unknown_does_not_wait_for_it(bench, nova):
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH, allow_unknown=True))
    nova.trade(10)
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_an_order_waiting_for_a_tokens_worth_is_not_looked_at_with_each_trade(bench, nova, monkeypatch):
    bench.accept(bench.snipe(nova.mint, LAUNCH))
    nova.trade(10)
    looks = []
    monkeypatch.setattr(sniping, "judge", lambda ids, *_: looks.append(ids))
    nova.trade(10)
    assert looks == []


def test_a_redis_that_came_back_as_it_was_before_is_told_what_has_happened_since(bench, nova):
    nova.worth(100_000)
    key = f"market:{{{nova.mint}}}"
    before = redis().dump(key)
    nova.worth(40_000)
    # Redis was killed, and came back without its last second: another epoch began.
    redis().restore(key, 0, before, replace=True)
    redis().set("store:epoch", "7")
    (order_id,) = bench.accept(bench.snipe(nova.mint, liquidity(50_000)))
    sniping.evaluate([order_id])
    assert bench.statuses(order_id) == ["pending"]
    nova.worth(50_000)
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_events_are_told_and_orders_fire_while_postgres_cannot_take_them_down(bench, nova, monkeypatch):
    nova.worth(10)
    (order_id,) = bench.accept(bench.snipe(nova.mint, liquidity(50_000)))

    def away(*_):
        raise OperationalError("gone")

    monkeypatch.setattr(markets, "save", away)
    nova.worth(50_000)
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_an_event_that_cannot_be_judged_while_postgres_is_away_is_judged_later(bench, nova, monkeypatch):
    nova.worth(100_000)
    (order_id,) = bench.accept(bench.snipe(nova.mint, liquidity(50_000)))
    redis().delete(f"market:{{{nova.mint}}}")

    def away(*_):
        raise OperationalError("gone")

    monkeypatch.setattr(markets, "load", away)
    with pytest.raises(OperationalError):
        nova.trade(10)
    monkeypatch.undo()
    sniping.match()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_an_emptied_redis_fails_no_sniper_order_whatever_it_waits_for(bench):
    """The trial that found it: many orders of every kind, Redis emptied between what completes them."""
    tokens = []
    for number in range(3):
        mint = new_mint()
        list_token(mint, symbol=f"NOVA{number}")
        tokens.append(Market(mint))
    wants = [(LAUNCH,), (liquidity(50_000),), (volume(1_000, 60),), (LAUNCH, volume(1_000, 60))]
    for token in tokens:
        token.worth(60_000)
    # Met only later, so that they are armed when Redis is lost.
    held = [Condition(Kind.VOLUME, 10_000_00, 60_000)]
    ids = bench.accept(*(bench.snipe(token.mint, *want, *held) for token in tokens for want in wants))
    for _ in range(3):
        lose_redis(bench)
        catalogue.forget()
        for order_id in ids:
            bench.pass_time(order_id, 1_000)
        sweep()
        sniping.evaluate(ids)
        for token in tokens:
            token.trade(500)
    assert {bench.statuses(order_id)[-1] for order_id in ids} == {"pending"}
    for token in tokens:
        token.trade(10_000)
    assert {bench.statuses(order_id)[-1] for order_id in ids} == {"triggered"}


def test_many_events_of_many_tokens_are_taken_down_in_one_statement(bench, django_assert_num_queries):
    mints = [new_mint() for _ in range(20)]

    def batch(kind):
        return [
            MarketEvent(f"{kind}-{n}-{now_ms()}", kind, mint, "", 100 + n, now_ms()) for n, mint in enumerate(mints)
        ]

    tape.publish(batch(EventKind.POOL))
    with django_assert_num_queries(1):
        tape.publish(batch(EventKind.LIQUIDITY) + batch(EventKind.TRADE))
    with django_assert_num_queries(0):
        tape.publish(batch(EventKind.TRADE))
    assert dict(TokenMarket.objects.values_list("mint", "liquidity")) == {mint: 100 + n for n, mint in enumerate(mints)}
