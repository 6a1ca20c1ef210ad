"""A venue that pays less than it quotes is paused; what the market does to all of them pauses none."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from orders.flow import honesty, pauses
from orders.models import Act, Attempt, Pause, PauseState
from orders.telemetry import metrics
from routing.venues import VENUES
from tests.factories import AttemptFactory

pytestmark = pytest.mark.usefixtures("no_pauses")

LIE = "200"
"""A price that no pool of the sandbox market pays."""
BELOW = "50"
MALLORY, ALICE = 1, 2
LIES, TRUTHS = ("METEORA", LIE), ("RAYDIUM",)


@pytest.fixture
def watch(bench, clock):
    """A watch that has looked once: what settles from now on counts."""
    made = honesty.Watch(clock)
    trade(bench, "RAYDIUM")
    assert made.look() == 0
    return made


def trade(bench, venue, price=None, slippage_bps=5_000, amount_out=None, amount=1_500_000_000, owner=MALLORY):
    """Have an order trade at this venue, which quotes this price, or what its pool pays."""
    bench.quote_all()
    (other,) = set(VENUES) - {venue}
    bench.price(BELOW, venue=other)
    if price:
        bench.price(price, venue=venue)
    asked = bench.order(amount, slippage_bps=slippage_bps)
    (order_id,) = bench.accept(replace(asked, order=replace(asked.order, amount_out=amount_out, owner=owner)))
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
    assert moments(bench, watch, honesty.MOMENTS, TRUTHS) == 0
    assert moments(bench, watch, 1, *[LIES] * (honesty.MOMENTS + 1)) == 0
    assert moments(bench, watch, honesty.MOMENTS + 1) == 0, "nothing has settled since"
    assert stopped() == set()


def test_the_last_venue_goes_on_trading(bench, watch):
    pauses.pause("venue", "RAYDIUM", "it is down", "ops")
    assert moments(bench, watch, honesty.MOMENTS, ("METEORA", LIE)) == 0
    assert stopped() == {("venue", "RAYDIUM", "paused", "ops")}


def test_a_venue_that_is_resumed_is_judged_by_what_it_pays_from_then_on(bench, watch):
    assert moments(bench, watch, honesty.MOMENTS, LIES, TRUTHS) == 1
    pauses.resume(Pause.objects.get(), "ops")
    assert moments(bench, watch, honesty.MOMENTS - 1, LIES, TRUTHS) == 0
    assert moments(bench, watch, 1, LIES, TRUTHS) == 1


def test_an_account_with_many_orders_weighs_as_one(bench, watch, settings):
    settings.VENUE_SHORTFALL_MAX_BPS = 120
    truth = ("METEORA", None, 5_000, None, 1_500_000_000, ALICE)
    assert moments(bench, watch, honesty.MOMENTS, *[LIES] * 4, truth, TRUTHS) == 0
    assert stopped() == set()


def test_one_transaction_says_200_bps_at_most(bench, watch, settings):
    settings.VENUE_SHORTFALL_MAX_BPS = 120
    truth = ("METEORA", None, 5_000, None, 1_500_000_000, ALICE)
    assert moments(bench, watch, honesty.MOMENTS, LIES, truth, TRUTHS) == 0
    worst = Attempt.objects.filter(venue="METEORA", order__owner=MALLORY).order_by("amount_out").first()
    assert (worst.expected_out - worst.amount_out) / worst.expected_out > 0.1
    assert stopped() == set()


def test_what_was_seen_longer_ago_than_ten_minutes_counts_no_more(bench, watch, clock):
    assert moments(bench, watch, honesty.MOMENTS - 1, LIES, TRUTHS) == 0
    clock.now += 601
    assert moments(bench, watch, 1, LIES, TRUTHS) == 0
    clock.now += 599
    assert moments(bench, watch, honesty.MOMENTS - 2, LIES, TRUTHS) == 0
    assert moments(bench, watch, 1, LIES, TRUTHS) == 1


def test_a_venue_that_wins_every_order_is_paused_while_another_quotes(bench, watch, settings):
    settings.VENUE_SHORTFALL_MAX_BPS = 99
    assert moments(bench, watch, honesty.MOMENTS - 1, LIES) == 0
    assert moments(bench, watch, 1, LIES) == 1
    pauses.resume(Pause.objects.get(), "ops")
    settings.VENUE_SHORTFALL_MAX_BPS = 100
    assert moments(bench, watch, honesty.MOMENTS, LIES) == 0, "200 bps, the most that one says, are not beyond it"


def test_a_venue_is_not_paused_while_no_other_is_known_to_pay_better_and_the_log_says_so(
    bench, watch, clock, monkeypatch
):
    monkeypatch.setattr(honesty, "quoting", lambda: {"METEORA"})
    half = honesty.MOMENTS // 2
    assert moments(bench, watch, half, TRUTHS) == 0
    clock.now += 601
    assert moments(bench, watch, half - 1, TRUTHS) == 0
    with capture_logs() as logs:
        assert moments(bench, watch, 2 * honesty.MOMENTS - 1, LIES) == 0
    said = [(line["log_level"], line["venue"], line["bps"]) for line in logs if "pays less" in line["event"]]
    assert said == [("error", "METEORA", 200)]
    assert stopped() == set()
    assert moments(bench, watch, 1, LIES, TRUTHS) == 1
    assert stopped() == {("venue", "METEORA", "paused", "engine")}


@pytest.mark.parametrize("state", ["halted", "reducing", "paused"])
def test_a_stop_that_an_operator_has_made_meanwhile_stays_as_it_is(bench, state):
    pauses.pause("venue", "METEORA", "it is drained", "ops", PauseState(state))
    assert not honesty.trip("METEORA", 200.0)
    assert stopped() == {("venue", "METEORA", state, "ops")}
    assert Pause.objects.get().reason == "it is drained"
    assert not Act.objects.exists()


def test_settled_transactions_behind_thousands_of_unsettled_ones_count(bench, watch):
    AttemptFactory(id=Attempt.objects.latest("id").id + 10_000, state="sent")
    assert moments(bench, watch, honesty.MOMENTS, LIES, TRUTHS) == 1


def test_a_look_that_finds_nothing_does_not_blind_the_next_one(bench, watch):
    assert moments(bench, watch, honesty.MOMENTS - 1, LIES, TRUTHS) == 0
    far = AttemptFactory(id=Attempt.objects.latest("id").id + honesty.ATTEMPTS_MAX, state="sent")
    assert watch.look() == 0
    far.delete()
    assert moments(bench, watch, 1, LIES, TRUTHS) == 1


def test_it_can_be_switched_off(bench, watch, settings):
    settings.VENUE_SHORTFALL_MAX_BPS = 0
    assert moments(bench, watch, honesty.MOMENTS, ("METEORA", LIE)) == 0
    assert stopped() == set()
