"""Orders while a venue's breaker is open: the other venue takes those that it can fill."""

from dataclasses import replace
from decimal import Decimal

import pytest

from orders.flow import dispatch, duties, execution, limits, settlement, sniping
from orders.flow.trading_limits import trading_limits
from orders.models import Attempt
from orders.operations import heartbeats
from routing import outages, wiring
from routing.asking import Asker
from routing.breakers import MOMENTS_MIN
from routing.catalogue import catalogue
from routing.chain import ChainUnreachable
from routing.store import now_ms
from routing.venues import VENUES
from tests.factories import AttemptFactory
from tests.orders.doors import ORDER
from tests.orders.test_estimate import asked
from tests.orders.test_patience import Away
from tests.orders.test_scrape import stores
from tests.orders.test_trading_limits import put
from tests.routing.test_asking import FakeVenue
from tests.system import eventually

pytestmark = pytest.mark.usefixtures("no_pauses")


def fail(*venues):
    outages.leave_out(dict.fromkeys(venues, "60% of its quotes failed or were late"), 60_000)


@pytest.fixture(autouse=True)
def no_limits():
    """Each test begins and ends without trading limits in this process's memory."""
    trading_limits.forget()
    yield
    trading_limits.forget()


@pytest.fixture
def quoted(bench):
    """METEORA pays 155 for any amount, RAYDIUM 150; METEORA fails."""
    bench.price("155")
    bench.price("150", venue="RAYDIUM")
    fail("METEORA")
    return bench


def routed(bench, **options):
    """Have an order carried to its end; return its routing event."""
    (order_id,) = bench.place(slippage_bps=5_000, **options)
    bench.run([order_id])
    return next(event for event in bench.events(order_id) if event["kind"] == "routing")


def test_orders_go_to_the_other_venue_though_it_pays_less_and_the_event_says_why(quoted):
    told = routed(quoted)
    assert (told["venue"], told["missing"]) == ("RAYDIUM", ["METEORA"])
    assert [quote["venue"] for quote in told["quotes"]] == ["RAYDIUM"]
    assert "METEORA's breaker is open until" in told["reason"]
    assert told["reason"].endswith("60% of its quotes failed or were late")


def test_it_takes_orders_again_once_its_breaker_has_closed(quoted, monkeypatch):
    now_ms = outages.now_ms
    monkeypatch.setattr(outages, "now_ms", lambda: now_ms() + 61_000)
    assert routed(quoted)["venue"] == "METEORA"


def test_the_only_venue_that_quotes_is_never_left_out(quoted):
    quoted.price("150", 5_000, venue="RAYDIUM")
    assert routed(quoted)["venue"] == "METEORA"


def test_if_all_venues_fail_they_are_all_tried(quoted):
    fail(*VENUES)
    told = routed(quoted)
    assert (told["venue"], told["missing"]) == ("METEORA", [])


def test_an_order_that_only_the_failing_venue_can_fill_goes_there_and_says_so(bench):
    bench.price("155")
    bench.quote("RAYDIUM")
    fail("METEORA")
    told = routed(bench, amount=10**16)
    assert (told["venue"], told["missing"]) == ("METEORA", [])
    assert told["reason"].endswith("it is used all the same, because no other venue can fill the order")


def test_so_does_an_order_that_may_be_traded_nowhere_else(quoted):
    put("venues", allowed=["METEORA"])
    assert routed(quoted)["venue"] == "METEORA"


def test_an_order_that_no_venue_can_fill_ends_as_without_a_breaker(bench):
    bench.quote_all()
    fail("METEORA")
    (order_id,) = bench.place(amount=10**16)
    bench.run([order_id])
    last = bench.events(order_id)[-1]
    assert (last["status"], last["code"]) == ("failed", "price_impact")


def test_a_limit_order_fires_on_the_price_of_the_other_venue(quoted):
    (high, low) = quoted.accept(quoted.limit("151"), quoted.limit("149"))
    limits.check()
    assert quoted.statuses(high) == ["pending"]
    assert quoted.statuses(low) == ["pending", "triggered"]
    quoted.run([low])
    assert quoted.events(low)[-1]["venue"] == "RAYDIUM"


def test_a_venue_that_is_left_out_still_speaks_against_a_price(quoted):
    (order_id,) = quoted.accept(quoted.limit("149"))
    quoted.price("300")
    limits.check()
    assert quoted.statuses(order_id) == ["pending"]


def test_a_sniper_order_fires_on_the_price_of_the_other_venue(bench):
    pair = catalogue().pairs["USDC-SOL"]
    bench.price("0.02", pair=pair)
    bench.price("0.01", venue="RAYDIUM", pair=pair)
    assert sniping.prices([pair.name], now_ms()) == {pair.name: Decimal("0.02")}
    fail("METEORA")
    assert sniping.prices([pair.name], now_ms()) == {pair.name: Decimal("0.01")}


def test_an_order_without_a_fresh_quote_does_not_wait_for_the_failing_venue(bench, monkeypatch):
    fail("METEORA")
    silent, prompt = FakeVenue("METEORA", bench), FakeVenue("RAYDIUM", bench, "at once")
    monkeypatch.setattr(execution, "asker", lambda: Asker([silent, prompt], 60_000, 500))
    (order_id,) = bench.place()
    bench.carry([order_id])
    eventually(lambda: bench.statuses(order_id)[-1] == "submitted", 10, "it waits for nobody")
    told = bench.events(order_id)[1]
    assert (told["venue"], told["source"]) == ("RAYDIUM", "asked")
    assert "not asked: METEORA's breaker is open until" in told["reason"]


@pytest.mark.parametrize("amount", ["1.5", "10000000"], ids=["for the other", "for the failing one alone"])
def test_an_estimate_says_what_would_be_routed(bench, client, amount):
    bench.price("155")
    bench.quote("RAYDIUM")
    fail("METEORA")
    answer = asked(client, ORDER | {"amount": amount})
    told = routed(bench, amount=int(float(amount) * 10**9))
    assert answer["problem"] is None
    assert answer["fill"]["venue"] == told["venue"] == ("RAYDIUM" if amount == "1.5" else "METEORA")
    assert answer["fill"]["reason"] == told["reason"]


def test_a_limit_on_price_impact_refuses_no_order_that_the_failing_venue_may_fill(bench):
    bench.price("155")
    bench.quote("RAYDIUM")
    put("impact", 1)
    fail("METEORA")
    assert routed(bench, amount=10**14)["venue"] == "METEORA"


def test_quotes_of_a_failing_venue_are_shown_and_best_is_the_other(quoted, client):
    answer = client.get("/api/quotes/SOL-USDC").json()
    assert {quote["venue"] for quote in answer["quotes"]} == set(VENUES)
    assert answer["best"]["venue"] == "RAYDIUM"


def test_readiness_and_the_metrics_say_that_a_breaker_is_open(quoted, client):
    for queue in dispatch.QUEUES:
        heartbeats.beat(queue)
    answer = client.get("/readyz").json()
    assert answer["status"] == "degraded"
    assert answer["parts"]["quotes"].startswith("METEORA's breaker is open until")
    found = stores()
    assert [found["engine_venue_breaker_open", venue] for venue in VENUES] == [0, 1]


# Transactions that the chain refuses


@pytest.fixture
def watch(bench):
    """A watch that has looked once: what settles from now on counts."""
    (look,) = [duty.act for duty in duties.limit_duties() if duty.name == "chain refusals"]
    trade(bench)
    assert look() == 0
    return look


def trade(bench, owner=1, slippage_bps=5_000, price=None):
    """Have an order of an account tried once, at METEORA, which quotes this price or what its pool pays."""
    bench.quote("METEORA")
    if price:
        bench.price(price)
    wanted = bench.order(slippage_bps=slippage_bps)
    (order_id,) = bench.accept(replace(wanted, order=replace(wanted.order, owner=owner)))
    bench.run([order_id])
    assert Attempt.objects.get(order=order_id).venue == "METEORA"


def refusing(settings, rate):
    settings.MOCK_REJECT_RATE = rate
    wiring.chain.cache_clear()


def test_a_venue_whose_transactions_the_chain_refuses_is_left_out(bench, watch, settings):
    refusing(settings, 1.0)
    for _ in range(MOMENTS_MIN):
        assert outages.failing() == {}
        trade(bench)
        watch()
    (sentence,) = outages.failing().values()
    assert sentence.endswith("100% of its transactions were refused by the chain")


def test_refused_transactions_behind_thousands_of_unsettled_ones_count(bench, watch, settings):
    refusing(settings, 1.0)
    for _ in range(MOMENTS_MIN):
        trade(bench)
        far = AttemptFactory(id=Attempt.objects.latest("id").id + 10_000, state="sent")
        watch()
        far.delete()
    assert list(outages.failing()) == ["METEORA"]


def test_a_chain_that_is_away_or_loses_transactions_says_nothing_of_a_venue(bench, watch, monkeypatch):
    for _ in range(2 * MOMENTS_MIN):
        trade(bench)
        Attempt.objects.filter(state="landed").update(state="expired", error_code="expired")
        watch()
    assert outages.failing() == {}
    monkeypatch.setattr(settlement, "chain", Away)
    with pytest.raises(ChainUnreachable):
        trade(bench)
    watch()
    assert outages.failing() == {}


def test_refusals_for_slippage_are_left_to_the_watch_for_dishonest_venues(bench, watch):
    for _ in range(2 * MOMENTS_MIN):
        trade(bench, price="200", slippage_bps=10)
        watch()
    assert Attempt.objects.filter(error_code="slippage_exceeded").count() == 2 * MOMENTS_MIN
    assert outages.failing() == {}


def test_one_account_of_five_whose_orders_are_all_refused_leaves_no_venue_out(bench, watch, settings):
    for _ in range(MOMENTS_MIN):
        refusing(settings, 1.0)
        for _ in range(20):
            trade(bench, owner=9)
        refusing(settings, 0.0)
        for owner in range(1, 5):
            trade(bench, owner=owner)
        watch()
    assert outages.failing() == {}
