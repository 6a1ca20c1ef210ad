"""A venue that fails too often is left out for a while, and the others are not."""

import asyncio

import pytest
from structlog.testing import capture_logs

from engine.quotes import Quote
from routing import outages
from routing.asking import Asker
from routing.breakers import LEFT_OUT_MS, MOMENTS, MOMENTS_AGE_S, MOMENTS_MIN, Breakers
from routing.store import now_ms
from routing.venues import Silence, VenueDown
from tests.routing.test_asking import SOL_USDC, FakeVenue, names
from tests.system import eventually

LEFT_OUT_S = LEFT_OUT_MS // 1000
WHAT = "its quotes failed or were late"


class Clock:
    """The breakers' clock, and the store's with it."""

    def __init__(self):
        self.passed = 0.0

    def __call__(self):
        return self.passed

    def now_ms(self):
        return now_ms() + int(1000 * self.passed)


@pytest.fixture
def clock(bench, monkeypatch):
    """Time that the test lets pass; no breaker is open before or after it."""
    made = Clock()
    monkeypatch.setattr(outages, "now_ms", made.now_ms)
    outages.withheld.forget()
    yield made
    outages.withheld.forget()


@pytest.fixture
def judges(clock):
    return Breakers(WHAT, clock)


def moments(judges, count, **failures):
    """Judge so many times, a second apart, each time after these shares of failures by venue."""
    for _ in range(count):
        judges.clock.passed += 1
        for venue, share in failures.items():
            for n in range(10):
                judges.hear(venue, n >= 10 * share)
        judges.judge()


def test_a_venue_that_fails_half_its_answers_is_left_out_and_says_why(judges):
    moments(judges, MOMENTS_MIN - 1, RAYDIUM=0.5, METEORA=0)
    assert outages.failing() == {}
    moments(judges, 1, RAYDIUM=0.5, METEORA=0)
    (sentence,) = outages.failing().values()
    assert outages.failing().keys() == {"RAYDIUM"}
    assert sentence.startswith("RAYDIUM's breaker is open until ") and sentence.endswith(f" UTC: 50% of {WHAT}")


@pytest.mark.parametrize(("share", "is_open"), [(0.2, False), (0.3, True)])
def test_it_takes_the_share_of_the_setting(judges, share, is_open):
    moments(judges, MOMENTS, RAYDIUM=share, METEORA=0)
    assert ("RAYDIUM" in outages.failing()) is is_open


def test_two_bad_seconds_among_good_ones_open_nothing(judges):
    moments(judges, MOMENTS - 2, RAYDIUM=0)
    moments(judges, 2, RAYDIUM=1)
    assert outages.failing() == {}


def test_a_second_with_many_answers_weighs_no_more_than_one_with_few(judges):
    moments(judges, MOMENTS - 1, RAYDIUM=0)
    for _ in range(10_000):
        judges.hear("RAYDIUM", False)
    judges.judge()
    assert outages.failing() == {}


def test_it_is_used_again_once_it_has_been_well_for_long_enough(judges):
    moments(judges, MOMENTS, RAYDIUM=1, METEORA=0)
    # It counts as failing until less than 30 % of the moments are bad, which takes 8 good ones.
    moments(judges, 7 + LEFT_OUT_S - 1, RAYDIUM=0, METEORA=0)
    assert outages.failing().keys() == {"RAYDIUM"}
    moments(judges, 2, RAYDIUM=0, METEORA=0)
    assert outages.failing() == {}
    assert judges.opened == set()


def test_it_stays_left_out_for_as_long_as_it_fails(judges):
    moments(judges, 3 * LEFT_OUT_S, RAYDIUM=1, METEORA=0)
    assert outages.failing().keys() == {"RAYDIUM"}


def test_a_worker_that_dies_leaves_no_venue_out_for_good(judges, clock):
    moments(judges, MOMENTS, RAYDIUM=1)
    clock.passed += LEFT_OUT_S + 1
    assert outages.failing() == {}


def test_what_was_long_ago_does_not_count(judges, clock):
    moments(judges, MOMENTS_MIN - 1, RAYDIUM=1)
    clock.passed += MOMENTS_AGE_S
    moments(judges, 1, RAYDIUM=1)
    assert outages.failing() == {}


def test_it_can_be_switched_off(judges, settings):
    settings.VENUE_FAILURES_MAX_PCT = 0
    moments(judges, MOMENTS, RAYDIUM=1)
    assert outages.failing() == {}


def test_what_another_worker_finds_is_not_taken_back(judges, clock):
    others = Breakers("its transactions were refused", clock)
    moments(others, MOMENTS_MIN, METEORA=1)
    moments(judges, MOMENTS_MIN, RAYDIUM=0, METEORA=0)
    assert outages.failing().keys() == {"METEORA"}


def test_each_change_is_logged_once_and_that_no_venue_is_left(judges):
    with capture_logs() as logs:
        moments(judges, MOMENTS, RAYDIUM=1, METEORA=0)
        moments(judges, MOMENTS, RAYDIUM=1, METEORA=1)
        moments(judges, MOMENTS + LEFT_OUT_S, RAYDIUM=0, METEORA=0)
    assert [(line["log_level"], line.get("venue") or line["venues"]) for line in logs] == [
        ("warning", "RAYDIUM"),
        ("warning", "METEORA"),
        ("error", ["METEORA", "RAYDIUM"]),
        ("info", "METEORA"),
        ("info", "RAYDIUM"),
    ]


def heard(venue, times=1):
    """Poll a venue so many times; return what the breakers are told."""
    found = []
    asker = Asker([venue], 5_000, 500)
    asker.heard.append(lambda name, in_time: found.append(in_time))
    for _ in range(times):
        asker.ask(SOL_USDC).result(5)
        eventually(lambda: not asker.direct, 5, "the question is closed")
    return found


class Flaky(FakeVenue):
    """Fails every second time."""

    async def quote(self, pair):
        self.answer = VenueDown("refused") if len(self.asked) % 2 else "at once"
        return await super().quote(pair)


class Late(FakeVenue):
    """Answers after more than VENUE_SLOW_MS."""

    async def quote(self, pair):
        await asyncio.sleep(0.05)
        return await super().quote(pair)


def test_errors_late_answers_and_nonsense_are_failures(bench, settings):
    settings.VENUE_SLOW_MS = 60_000
    assert heard(Flaky("RAYDIUM", bench), 4) == [True, False, True, False]
    assert heard(FakeVenue("RAYDIUM", bench, ValueError("nonsense"))) == [False]
    settings.VENUE_SLOW_MS = 20
    assert heard(Late("RAYDIUM", bench, "at once")) == [False]


def test_a_venue_that_is_paused_is_not_judged(bench, clock):
    outages.withhold({"RAYDIUM": "RAYDIUM is paused: an upgrade"})
    assert heard(FakeVenue("RAYDIUM", bench, "at once")) == []


def leave_out(*venues):
    outages.leave_out(dict.fromkeys(venues, "60% of its quotes failed"), 60_000)


def test_an_order_does_not_wait_for_a_venue_that_fails(bench, clock):
    leave_out("RAYDIUM")
    silent, prompt = FakeVenue("RAYDIUM", bench), FakeVenue("METEORA", bench, "at once")
    quote, silence = Asker([silent, prompt], 5_000, 500).ask(SOL_USDC).result(5)
    assert isinstance(quote, Quote) and quote.venue == "METEORA"
    assert isinstance(silence, Silence) and "not asked: RAYDIUM's breaker is open until" in silence.reason
    assert silent.asked == []


@pytest.mark.parametrize("failing", [("METEORA",), ("RAYDIUM", "METEORA")], ids=["the one that quotes", "all"])
def test_venues_that_fail_are_asked_if_no_other_quotes(bench, clock, failing):
    leave_out(*failing)
    down, prompt = FakeVenue("RAYDIUM", bench, VenueDown("refused")), FakeVenue("METEORA", bench, "at once")
    assert names(Asker([down, prompt], 5_000, 500).ask(SOL_USDC).result(5)) == ["METEORA"]


def test_a_venue_that_fails_is_polled_all_the_same(bench, clock):
    leave_out("RAYDIUM")
    venue = FakeVenue("RAYDIUM", bench, "at once")
    Asker([venue], 5_000, 500).poll([SOL_USDC])
    eventually(lambda: venue.asked == ["SOL-USDC"], 5, "it is polled")
