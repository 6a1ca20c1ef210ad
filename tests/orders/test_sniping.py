"""Sniper orders: each fires on the event that completes its conditions and on none before, if the token checks pass."""

import time
from decimal import Decimal

import pytest

from engine.market import EventKind, MarketEvent
from engine.orders import TimeInForce
from orders.flow import dispatch, limits, recovery, sniping, waiting
from orders.flow.sweep import sweep
from orders.stores import live
from routing import tape
from routing.catalogue import catalogue
from routing.store import now_ms, redis
from tests.orders.sniping import DOLLAR, LAUNCH, Market, liquidity, list_token, new_mint, volume


def test_a_launch_order_for_a_token_nobody_knows_arms_and_fires_when_its_first_pool_appears(bench):
    mint, other = new_mint(), new_mint()
    (order_id,) = bench.accept(bench.snipe(mint, LAUNCH))
    assert bench.events(order_id)[0]["pair"] == f"SOL-{mint}"
    Market(other).pool()
    assert bench.statuses(order_id) == ["pending"]
    list_token(mint)
    event = Market(mint).pool()
    assert bench.statuses(order_id) == ["pending", "triggered"]
    told = bench.events(order_id)[-1]
    assert told["trigger"]["event"]["id"] == event.id
    assert told["trigger"]["event"]["kind"] == "pool" and told["trigger"]["event"]["usd"] == "50000"
    assert told["trigger"]["conditions"] == [{"kind": "launch", "value": "1"}]
    assert bench.sent(dispatch.EXECUTE) == [{"order_ids": [order_id]}]


def test_a_sniped_token_is_bought_though_the_order_worker_had_not_heard_of_it(bench):
    mint = new_mint()
    (order_id,) = bench.accept(bench.snipe(mint, LAUNCH))
    list_token(mint)
    Market(mint).pool()
    bench.quote_all_of(catalogue().pair(f"SOL-{mint}"))
    # This process's catalogue is as old as another's may be.
    catalogue.reading = stale = catalogue()
    stale.pairs.pop("SOL-NOVA1")
    stale.tokens.pop(mint)
    bench.run([order_id])
    assert bench.statuses(order_id)[-1] == "confirmed"
    assert Decimal(bench.events(order_id)[-1]["amountOut"]) > 0


def test_a_liquidity_order_fires_at_its_threshold_and_not_a_cent_below(bench, nova):
    (order_id,) = bench.accept(bench.snipe(nova.mint, liquidity(50_000)))
    tape.publish([MarketEvent("a", EventKind.LIQUIDITY, nova.mint, "", 50_000 * DOLLAR - 1, now_ms())])
    sniping.match()
    assert bench.statuses(order_id) == ["pending"]
    nova.worth(50_000)
    assert bench.statuses(order_id) == ["pending", "triggered"]
    assert bench.events(order_id)[-1]["trigger"]["conditions"] == [
        {"kind": "liquidity", "atLeast": "50000", "value": "50000"}
    ]


def test_a_volume_order_fires_on_the_trade_that_fills_its_window_and_not_one_earlier(bench, nova):
    nova.worth(100_000)
    (order_id,) = bench.accept(bench.snipe(nova.mint, volume(10_000, 60)))
    nova.trade(9_000, ago_s=61)
    nova.trade(4_000, ago_s=30)
    nova.trade(5_999)
    assert bench.statuses(order_id) == ["pending"]
    event = nova.trade(1)
    assert bench.statuses(order_id) == ["pending", "triggered"]
    told = bench.events(order_id)[-1]["trigger"]
    assert told["event"]["id"] == event.id
    assert told["conditions"] == [{"kind": "volume", "atLeast": "10000", "windowS": 60, "value": "10000"}]


def test_each_order_watches_its_own_window(bench, nova):
    nova.worth(100_000)
    short, long = bench.accept(bench.snipe(nova.mint, volume(10_000, 10)), bench.snipe(nova.mint, volume(10_000, 600)))
    nova.trade(9_000, ago_s=300)
    nova.trade(1_000)
    assert (bench.statuses(short)[-1], bench.statuses(long)[-1]) == ("pending", "triggered")


@pytest.mark.parametrize("last", ["worth", "trade"])
def test_a_combination_fires_on_the_event_that_completes_it_and_on_none_before(bench, nova, last):
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH, liquidity(50_000), volume(10_000, 60)))
    nova.pool(20_000)
    if last == "worth":
        nova.trade(10_000)
        nova.worth(49_999)
    else:
        nova.worth(50_000)
        nova.trade(9_999)
    assert bench.statuses(order_id) == ["pending"]
    event = nova.worth(50_000) if last == "worth" else nova.trade(1)
    assert bench.statuses(order_id) == ["pending", "triggered"]
    assert bench.events(order_id)[-1]["trigger"]["event"]["id"] == event.id


def test_a_combination_whose_launch_comes_last_fires_on_the_launch(bench):
    mint = new_mint()
    (order_id,) = bench.accept(bench.snipe(mint, LAUNCH, liquidity(50_000)))
    list_token(mint)
    Market(mint).pool(50_000)
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_a_condition_that_was_met_and_is_not_any_more_does_not_count(bench, nova):
    (order_id,) = bench.accept(bench.snipe(nova.mint, liquidity(50_000), volume(10_000, 60)))
    nova.worth(60_000)
    nova.worth(40_000)
    nova.trade(10_000)
    assert bench.statuses(order_id) == ["pending"]
    nova.worth(50_000)
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_an_order_whose_conditions_hold_when_it_is_armed_fires_at_once(bench, nova):
    nova.pool(80_000)
    (order_id,) = bench.accept(bench.snipe(nova.mint, liquidity(50_000)))
    assert bench.sent(dispatch.EVALUATE) == [{"order_ids": [order_id]}]
    sniping.evaluate([order_id])
    assert bench.statuses(order_id) == ["pending", "triggered"]
    assert bench.events(order_id)[-1]["trigger"]["event"] is None


def test_the_sweep_finds_an_armed_order_whose_wake_up_was_lost(bench, nova):
    nova.pool(80_000)
    (order_id,) = bench.accept(bench.snipe(nova.mint, liquidity(50_000)))
    redis().delete("sniper")
    bench.pass_time(order_id, live.GRACE_MS + 100)
    sweep()
    assert bench.sent(dispatch.EVALUATE) == [{"order_ids": [order_id]}]


def test_an_event_seen_twice_fires_an_order_once(bench, nova):
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH))
    event = nova.pool()
    tape.publish([event])
    sniping.match()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_a_worker_that_dies_over_an_event_leaves_it_to_the_next(bench, nova, monkeypatch):
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH))

    def killed(_):
        raise SystemExit

    monkeypatch.setattr(sniping, "react", killed)
    with pytest.raises(SystemExit):
        nova.pool()
    monkeypatch.undo()
    sniping.match()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_an_event_that_a_defect_spoils_holds_up_no_later_one(bench, nova, monkeypatch):
    monkeypatch.setattr(sniping, "react", lambda _: 1 / 0)
    nova.pool()
    monkeypatch.undo()
    (order_id,) = bench.accept(bench.snipe(nova.mint, liquidity(50_000)))
    nova.worth(50_000)
    assert bench.statuses(order_id) == ["pending", "triggered"]


CHECKS = {
    "mintAuthority": ({"mint_authority": "Somebody"}, "more can be minted by Somebody"),
    "freezeAuthority": ({"freeze_authority": "Somebody"}, "holdings can be frozen by Somebody"),
    "topHolder": ({"top_holder_bps": 3_001}, "more than 30 %"),
}


@pytest.mark.parametrize("check", CHECKS)
def test_a_token_that_fails_a_token_check_is_refused_with_the_reason(bench, check):
    facts, reason = CHECKS[check]
    mint = new_mint()
    list_token(mint, **facts)
    (order_id,) = bench.accept(bench.snipe(mint, LAUNCH, allow_unknown=True))
    Market(mint).pool()
    assert bench.statuses(order_id) == ["pending", "triggered", "failed"]
    verdicts = {one["gate"]: one for one in bench.events(order_id)[1]["gates"]}
    assert {name for name, one in verdicts.items() if one["verdict"] == "refuse"} == {check}
    assert verdicts[check]["reason"] == reason and verdicts[check]["source"] == "token"
    failed = bench.events(order_id)[-1]
    assert failed["code"] == "gate_refused" and reason in failed["message"] and not failed["replayMayHelp"]
    bench.archive()
    assert bench.row(order_id).status == "failed" and bench.row(order_id).attempts.count() == 0


def test_a_token_that_is_not_sold_for_what_the_order_has_ends_it_with_the_reason(bench):
    mint = new_mint()
    (order_id,) = bench.accept(bench.snipe(mint, LAUNCH, allow_unknown=True))
    Market(mint).pool()
    assert bench.statuses(order_id) == ["pending", "triggered", "failed"]
    assert bench.events(order_id)[-1]["code"] == "no_pair"


def test_a_token_that_was_listed_a_moment_ago_is_known_though_this_process_had_read_the_catalogue_before(bench):
    mint = new_mint()
    (order_id,) = bench.accept(bench.snipe(mint, LAUNCH))
    known = catalogue()
    list_token(mint)
    catalogue.reading, catalogue.read_at = known, time.monotonic()
    Market(mint).pool()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_a_pool_worth_too_little_is_refused(bench, nova):
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH))
    nova.pool(9_999)
    assert bench.events(order_id)[-1]["message"] == "the token was refused: liquidity: less than 10000 USD"


def test_what_is_unknown_is_refused_unless_the_order_allows_it(bench):
    mint = new_mint()
    list_token(mint, mint_authority=None, freeze_authority=None, top_holder_bps=None)
    careful, daring = bench.accept(bench.snipe(mint, LAUNCH), bench.snipe(mint, LAUNCH, allow_unknown=True))
    Market(mint).pool()
    assert bench.statuses(careful)[-1] == "failed"
    assert "mintAuthority: unknown" in bench.events(careful)[-1]["message"]
    assert bench.statuses(daring) == ["pending", "triggered"]
    assert bench.events(daring)[-1]["gates"][0] == {
        "gate": "mintAuthority",
        "value": None,
        "source": "token",
        "verdict": "pass",
        "reason": "unknown, which the order allows",
    }


def test_an_order_whose_price_is_too_high_stays_armed_and_fires_when_it_is_not(bench, nova):
    pair = catalogue().pair("SOL-NOVA1")
    # At 100 tokens for a SOL one costs 0.01.
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH, max_price=Decimal("0.009")))
    bench.price("100", pair=pair)
    nova.pool()
    nova.trade(10)
    assert bench.statuses(order_id) == ["pending"]
    bench.price("112", pair=pair)
    nova.trade(10)
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_an_order_is_never_executed_above_its_highest_price(bench, nova):
    pair = catalogue().pair("SOL-NOVA1")
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH, max_price=Decimal("0.009")))
    nova.pool()
    assert bench.statuses(order_id) == ["pending", "triggered"]
    bench.price("100", pair=pair)
    bench.carry([order_id])
    assert bench.statuses(order_id) == ["pending", "triggered", "pending"]
    assert bench.events(order_id)[-1]["returned"]["code"] == "price_gone"
    bench.pass_time(order_id, 60_000)
    sweep()
    sniping.evaluate([order_id])
    assert bench.statuses(order_id)[-1] == "pending"
    bench.price("112", pair=pair)
    nova.trade(10)
    bench.carry([order_id])
    building = bench.events(order_id)[-2]
    assert Decimal(building["minimumOut"]) >= Decimal("0.5") / Decimal("0.009")


def test_an_armed_order_is_cancelled_amended_and_expires_like_any_that_waits(bench, nova):
    expires = now_ms() + 100
    cancelled, amended, expired = bench.accept(
        bench.snipe(nova.mint, LAUNCH),
        bench.snipe(nova.mint, volume(10_000, 60)),
        bench.snipe(nova.mint, liquidity(50_000), expires_at=expires, time_in_force=TimeInForce.GTD),
    )
    waiting.cancel(cancelled)
    waiting.amend(amended, 1, {"amount_in": 10**9, "max_price": Decimal("0.5")})
    while now_ms() <= expires:
        pass
    waiting.expire()
    assert bench.events(amended)[-1]["amended"] == {
        "amountIn": {"from": "0.5", "to": "1"},
        "maxPrice": {"from": None, "to": "0.5"},
    }
    nova.pool(80_000)
    nova.trade(10_000)
    assert bench.statuses(cancelled) == ["pending", "cancelled"]
    assert bench.statuses(amended) == ["pending", "pending", "triggered"]
    assert bench.statuses(expired) == ["pending", "expired"]
    assert redis().keys("snipe:*") == [] and not redis().exists("waiting:expiring")


def test_armed_orders_are_rebuilt_from_postgres_and_fire(bench):
    mint = new_mint()
    (order_id,) = bench.accept(bench.snipe(mint, LAUNCH, max_price=Decimal("0.5"), allow_unknown=True))
    bench.archive()
    redis().flushdb()
    recovery.recover()
    list_token(mint)
    Market(mint).pool()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_a_sniper_order_is_not_fired_by_prices_nor_a_limit_order_by_events(bench, nova):
    (sniper,) = bench.accept(bench.snipe(nova.mint, liquidity(10**6)))
    (limit,) = bench.accept(bench.limit("150"))
    bench.price("200", pair=catalogue().pair("SOL-NOVA1"))
    limits.check()
    nova.pool()
    assert bench.statuses(sniper) == bench.statuses(limit) == ["pending"]
