"""The sniper index: an event looks at the orders it can fire, at all of them, and at no others."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from engine.market import EventKind, MarketEvent
from engine.orders import OrderType
from orders.flow import duties, pauses, sniping, waiting
from orders.models import Pause
from orders.operations import reconciliation
from orders.stores import book, live
from routing import tape
from routing.catalogue import catalogue
from routing.models import Pair, Token
from routing.store import now_ms, redis
from tests.orders.sniping import DOLLAR, LAUNCH, liquidity, volume

pytestmark = pytest.mark.usefixtures("no_pauses")

TINY = Decimal("0.000001")
"""A highest price that no market comes to."""


@pytest.fixture
def looked_at(monkeypatch):
    """The ids of all orders that are looked at from now on."""
    ids, standing = [], live.standing

    def noting(order_ids):
        ids.extend(order_ids)
        return standing(order_ids)

    monkeypatch.setattr(live, "standing", noting)
    return ids


def arm(bench, count, *snipe, **more):
    """Accept so many orders in groups, as a burst does."""
    ids = []
    for start in range(0, count, 200):
        ids += bench.accept(*(bench.snipe(*snipe, **more) for _ in range(min(200, count - start))))
    return ids


def price(bench, tokens_per_sol):
    """Have NOVA1 quoted at so many for a SOL."""
    bench.price(tokens_per_sol, pair=catalogue().pair("SOL-NOVA1"))


def test_a_thousand_orders_that_nobody_sells_to_starve_no_other(bench, nova):
    price(bench, "100")
    arm(bench, book.CLAIM_MAX + 5, nova.mint, LAUNCH, max_price=TINY)
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH, max_price=Decimal("0.02")))
    nova.pool()
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_more_orders_than_one_page_holds_fire_on_one_event(bench, nova, monkeypatch):
    monkeypatch.setattr(book, "PAGE", 10, raising=False)
    monkeypatch.setattr(book, "CLAIM_MAX", 10)
    ids = arm(bench, 45, nova.mint, LAUNCH)
    nova.pool()
    assert {bench.statuses(order_id)[-1] for order_id in ids} == {"triggered"}


def test_orders_that_stay_where_they_are_end_no_page_early_and_no_loop_late(bench, nova, monkeypatch):
    monkeypatch.setattr(book, "PAGE", 10, raising=False)
    monkeypatch.setattr(book, "CLAIM_MAX", 10)
    over = arm(bench, 35, nova.mint, LAUNCH, expires_at=1, time_in_force="gtd")
    ids = arm(bench, 15, nova.mint, LAUNCH)
    nova.pool()
    assert {bench.statuses(order_id)[-1] for order_id in over} == {"pending"}
    assert {bench.statuses(order_id)[-1] for order_id in ids} == {"triggered"}


def test_an_order_that_only_its_price_keeps_is_not_looked_at_before_its_price(bench, nova, looked_at):
    price(bench, "100")
    dear = arm(bench, 3, nova.mint, LAUNCH, max_price=TINY)
    (near,) = bench.accept(bench.snipe(nova.mint, LAUNCH, max_price=Decimal("0.009")))
    nova.pool()
    looked_at.clear()
    nova.trade(10)
    nova.worth(60_000)
    assert looked_at == []
    price(bench, "112")
    nova.trade(10)
    assert set(looked_at) == {near}
    assert bench.statuses(near) == ["pending", "triggered"]
    assert {bench.statuses(order_id)[-1] for order_id in dear} == {"pending"}


def test_an_order_that_its_price_kept_watches_its_condition_again_when_that_ceases_to_hold(bench, nova):
    price(bench, "100")
    (order_id,) = bench.accept(bench.snipe(nova.mint, liquidity(50_000), max_price=Decimal("0.009")))
    nova.worth(60_000)
    nova.worth(40_000)
    price(bench, "112")
    nova.trade(10)
    assert bench.statuses(order_id) == ["pending"]
    nova.worth(50_000)
    assert bench.statuses(order_id) == ["pending", "triggered"]


def silence_venues():
    redis().delete("quotes:{SOL-NOVA1}:METEORA", "quotes:{SOL-NOVA1}:BEST")


def test_orders_that_their_price_kept_do_not_all_fire_when_the_venues_fall_silent(bench, nova, looked_at):
    price(bench, "100")
    ids = arm(bench, 3, nova.mint, LAUNCH, max_price=TINY)
    nova.pool()
    silence_venues()
    looked_at.clear()
    nova.trade(10)
    assert looked_at == []
    assert {bench.statuses(order_id)[-1] for order_id in ids} == {"pending"}


def test_an_order_of_a_retired_pair_whose_price_nobody_asks_for_finds_out_by_itself(bench, nova):
    price(bench, "100")
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH, max_price=TINY))
    nova.pool()
    Pair.objects.filter(token_out=nova.mint).update(active=False)
    catalogue.forget()
    silence_venues()
    nova.trade(10)
    assert bench.statuses(order_id) == ["pending", "triggered"]


def test_an_order_that_its_price_kept_and_that_may_pay_more_now_fires(bench, nova):
    price(bench, "100")
    (order_id,) = bench.accept(bench.snipe(nova.mint, LAUNCH, max_price=TINY))
    nova.pool()
    waiting.amend(order_id, 1, {"max_price": Decimal("0.02")})
    sniping.evaluate([order_id])
    assert bench.statuses(order_id) == ["pending", "pending", "triggered"]


def test_an_order_that_its_price_kept_leaves_nothing_behind(bench, nova):
    price(bench, "100")
    first, second = arm(bench, 2, nova.mint, LAUNCH, max_price=TINY)
    nova.pool()
    assert reconciliation.strays(list(live.standing([first, second]).values())) == []
    waiting.cancel(first)
    assert redis().keys("snipe:*")
    waiting.cancel(second)
    assert redis().keys("snipe:*") == []


def test_orders_of_a_paused_pair_are_not_looked_at_and_fire_when_it_is_resumed(bench, nova, looked_at):
    ids = arm(bench, 3, nova.mint, LAUNCH)
    pauses.pause("pair", "SOL-NOVA1", "a test", "ops")
    nova.pool()
    looked_at.clear()
    nova.trade(10)
    assert looked_at == []
    pauses.resume(Pause.objects.get(), "ops")
    nova.trade(10)
    assert {bench.statuses(order_id)[-1] for order_id in ids} == {"triggered"}


@pytest.mark.parametrize("condition", [LAUNCH, liquidity(50_000)])
def test_liquidity_that_was_read_too_long_ago_is_unknown(bench, nova, condition):
    (order_id,) = bench.accept(bench.snipe(nova.mint, condition))
    tell(nova, EventKind.LIQUIDITY, 80_000, now_ms() - 3_605_000)
    nova.trade(10)
    sniping.evaluate([order_id])
    assert bench.statuses(order_id) == ["pending"]
    nova.worth(50_000)
    assert bench.statuses(order_id) == ["pending", "triggered"]


def tell(token, kind, dollars, at):
    """Have something have happened to a token a while ago."""
    tape.publish([MarketEvent(f"{kind}-{at}", kind, token.mint, "RAYDIUM", dollars * DOLLAR, at)])
    sniping.match()


def test_what_was_looked_up_of_a_token_too_long_ago_is_unknown(bench, nova):
    Token.objects.filter(mint=nova.mint).update(facts_at=datetime.now(UTC) - timedelta(days=30, minutes=1))
    careful, daring = bench.accept(bench.snipe(nova.mint, LAUNCH), bench.snipe(nova.mint, LAUNCH, allow_unknown=True))
    nova.pool()
    assert bench.statuses(careful) == ["pending", "triggered", "failed"]
    assert "mintAuthority: unknown" in bench.events(careful)[-1]["message"]
    assert bench.statuses(daring) == ["pending", "triggered"]


def test_the_sniper_worker_does_all_this_by_its_pulse(bench, nova):
    ids = arm(bench, 2, nova.mint, volume(10, 60))
    tape.publish([MarketEvent("r", EventKind.LIQUIDITY, nova.mint, "", 80_000 * DOLLAR, now_ms())])
    tape.publish([MarketEvent("t", EventKind.TRADE, nova.mint, "", 10 * DOLLAR, now_ms())])
    (match,) = (duty for duty in duties.sniper_duties() if duty.name == "match")
    assert match.act() == 2
    assert {bench.statuses(order_id)[-1] for order_id in ids} == {"triggered"}
    assert {one.order.type for one in live.standing(ids).values()} == {OrderType.SNIPER}
