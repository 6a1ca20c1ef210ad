"""A venue that pays less than it quotes is paused; what the market does to all of them pauses none."""

from dataclasses import replace

import pytest

from orders.flow import honesty, pauses
from orders.models import Act, Attempt, Pause
from orders.telemetry import metrics
from routing.venues import VENUES

pytestmark = pytest.mark.usefixtures("no_pauses")

LIE = "200"
"""A price that no pool of the sandbox market pays."""
BELOW = "50"


@pytest.fixture
def watch(bench):
    """A watch that has looked once: what settles from now on counts."""
    made = honesty.Watch()
    trade(bench, "RAYDIUM")
    assert made.look() == 0
    return made


def trade(bench, venue, price=None, slippage_bps=5_000, amount_out=None, amount=1_500_000_000):
    """Have an order trade at this venue, which quotes this price, or what its pool pays."""
    bench.quote_all()
    (other,) = set(VENUES) - {venue}
    bench.price(BELOW, venue=other)
    if price:
        bench.price(price, venue=venue)
    asked = bench.order(amount, slippage_bps=slippage_bps)
    (order_id,) = bench.accept(replace(asked, order=replace(asked.order, amount_out=amount_out)))
    bench.run([order_id])
    assert Attempt.objects.filter(order=order_id, number=1).values_list("venue", flat=True).get() == venue


def moments(bench, watch, count, *trades):
    """Look so many times, each time after these trades; return how many venues were paused."""
    paused = 0
    for _ in range(count):
        for more in trades:
            trade(bench, *more)
        paused += watch.look()
    return paused


def stopped():
    return set(Pause.objects.values_list("scope", "name", "state", "by"))


@pytest.mark.parametrize("slippage_bps", [5_000, 100], ids=["filled for less", "refused by the chain"])
def test_a_venue_that_pays_less_than_it_quotes_is_paused_on_record_and_orders_go_to_the_other(
    bench, watch, slippage_bps
):
    before = metrics.VENUES_TRIPPED.labels("METEORA")._value.get()
    lie, truth = ("METEORA", LIE, slippage_bps), ("RAYDIUM",)
    assert moments(bench, watch, honesty.MOMENTS - 1, lie, truth) == 0
    assert stopped() == set()
    assert moments(bench, watch, 1, lie, truth) == 1
    assert stopped() == {("venue", "METEORA", "paused", "engine")}
    assert "less than it had quoted" in pauses.pauses().venues["METEORA"]
    assert Act.objects.values_list("who", "what", "subject").get() == ("engine", "pause", "venue:METEORA")
    assert metrics.VENUES_TRIPPED.labels("METEORA")._value.get() == before + 1
    bench.quote_all()
    bench.price(LIE, venue="METEORA")
    (order_id,) = bench.place()
    bench.run([order_id])
    assert [one.venue for one in Attempt.objects.filter(order=order_id)] == ["RAYDIUM"]


@pytest.mark.parametrize("slippage_bps", [5_000, 100], ids=["filled for more", "refused by the chain"])
def test_a_venue_that_takes_more_than_it_quotes_for_an_exact_amount_is_paused(bench, watch, slippage_bps):
    lie, truth = ("METEORA", LIE, slippage_bps, 100_000_000), ("RAYDIUM", None, slippage_bps, 100_000_000)
    assert moments(bench, watch, honesty.MOMENTS - 1, lie, truth) == 0
    assert moments(bench, watch, 1, lie, truth) == 1
    assert stopped() == {("venue", "METEORA", "paused", "engine")}


def test_venues_that_pay_what_they_quote_are_not_paused(bench, watch):
    assert moments(bench, watch, honesty.MOMENTS + 1, ("METEORA",), ("RAYDIUM",)) == 0
    assert stopped() == set()


def test_a_market_that_moves_against_all_venues_pauses_none(bench, watch):
    assert moments(bench, watch, honesty.MOMENTS + 1, ("METEORA", LIE), ("RAYDIUM", LIE)) == 0
    assert stopped() == set()


def test_orders_so_small_that_rounding_is_a_loss_say_nothing_about_a_venue(bench, watch):
    dust = ("METEORA", LIE, 5_000, None, 20_000)
    assert moments(bench, watch, honesty.MOMENTS + 1, dust, ("RAYDIUM",)) == 0
    assert Attempt.objects.filter(venue="METEORA", expected_out__lt=honesty.UNITS_MIN).count() > honesty.MOMENTS
    assert stopped() == set()


def test_many_orders_of_one_moment_are_one_movement(bench, watch):
    assert moments(bench, watch, 1, *[("METEORA", LIE)] * (honesty.MOMENTS + 1)) == 0
    assert moments(bench, watch, honesty.MOMENTS + 1) == 0, "nothing has settled since"
    assert stopped() == set()


def test_the_last_venue_goes_on_trading(bench, watch):
    pauses.pause("venue", "RAYDIUM", "it is down", "ops")
    assert moments(bench, watch, honesty.MOMENTS, ("METEORA", LIE)) == 0
    assert stopped() == {("venue", "RAYDIUM", "paused", "ops")}


def test_a_venue_that_is_resumed_is_judged_by_what_it_pays_from_then_on(bench, watch):
    assert moments(bench, watch, honesty.MOMENTS, ("METEORA", LIE)) == 1
    pauses.resume(Pause.objects.get(), "ops")
    assert moments(bench, watch, honesty.MOMENTS - 1, ("METEORA", LIE)) == 0
    assert moments(bench, watch, 1, ("METEORA", LIE)) == 1


def test_it_can_be_switched_off(bench, watch, settings):
    settings.VENUE_SHORTFALL_MAX_BPS = 0
    assert moments(bench, watch, honesty.MOMENTS, ("METEORA", LIE)) == 0
    assert stopped() == set()
