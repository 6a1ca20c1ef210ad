"""The chart: recorded prices, drawn as they were, and nothing where there were none."""

import time
from dataclasses import dataclass

import pytest

from tests.browser.chart import drawn, record
from tests.system import System

pytestmark = pytest.mark.system

PAIR = "JUP-USDC"
HOUR, DAY = 3_600, 86_400
DARK = {"color_scheme": "dark"}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


@dataclass(frozen=True)
class Past:
    """Prices that were recorded relative to a second; how long ago that is grows while the tests run."""

    engine: System
    second: int

    def part(self, span, *agos):
        """Return where so long before that second is within a range that ends now, as fractions of the width."""
        since = time.time() - self.second
        return [(1 - (ago + since) / span) / 1.02 for ago in agos]


@pytest.fixture(scope="module")
def past(engine):
    """Prices of the last hour at two levels with ten minutes between them without a quote, and some of days ago."""
    record(engine, PAIR, "1.20", (2_700, 2_100))
    record(engine, PAIR, "0.80", (1_500, 600))
    record(engine, PAIR, "1.20", (4 * DAY, 3 * DAY), 60)
    record(engine, PAIR, "0.80", (2 * DAY, DAY), 60)
    record(engine, PAIR, "1.20", (20 * HOUR, 12 * HOUR), 60)
    return Past(engine, record(engine, PAIR, "0.80", (5 * HOUR, 3 * HOUR), 60))


def shown(desk, label):
    """Look at the pair over a range."""
    if desk.page.input_value("#pair") != PAIR:
        desk.page.select_option("#pair", PAIR)
    desk.page.locator("#ranges label", has_text=label).click()
    return desk.until(lambda: (seen := drawn(desk.page)).covered(0, 1) > 0.2 and seen, f"the line of {label}")


@pytest.mark.parametrize("look", [{**DARK}, {"color_scheme": "light"}, {**DARK, **PHONE}])
def test_prices_recorded_while_nobody_watched_are_there_and_a_gap_is_a_gap(past, opened, look):
    with opened(**look) as desk:
        seen = shown(desk, "1 h")
        first, gap, second = (past.part(HOUR, *ends) for ends in ((2_650, 2_150), (2_050, 1_550), (1_450, 650)))
        assert seen.covered(*first) > 0.95
        assert seen.covered(*gap) == 0
        assert seen.covered(*second) > 0.95
        # Two level lines, and no slope that would say the price went from one to the other.
        assert seen.tallest(*first) <= 4 and seen.tallest(*second) <= 4
        assert seen.level(*first) + 50 < seen.level(*second)
        assert desk.width() <= desk.page.viewport_size["width"]


@pytest.mark.parametrize(
    ("label", "span", "piece", "gap"),
    [("6 h", 6 * HOUR, (4.8, 3.2), (2.8, 0.8)), ("24 h", DAY, (19.5, 12.5), (11.5, 5.5))],
)
def test_hours_are_drawn_at_their_own_width(past, opened, label, span, piece, gap):
    with opened(**DARK) as desk:
        seen = shown(desk, label)
        assert seen.covered(*past.part(span, *(hours * HOUR for hours in piece))) > 0.95
        assert seen.covered(*past.part(span, *(hours * HOUR for hours in gap))) == 0


def test_days_are_drawn_at_their_own_width(past, opened):
    with opened(**DARK) as desk:
        seen = shown(desk, "7 d")
        days = ((6.9, 4.1), (3.9, 3.1), (2.9, 2.1), (1.9, 1.1))
        before, first, gap, second = (past.part(7 * DAY, *(day * DAY for day in ends)) for ends in days)
        assert seen.covered(*before) == 0 and seen.covered(*gap) == 0
        assert seen.covered(*first) > 0.95 and seen.covered(*second) > 0.95


def test_live_prices_are_appended_and_the_axis_moves_on(past, opened):
    with opened(**DARK) as desk:
        desk.until(lambda: drawn(desk.page).covered(0.9, 1) > 0.5, "the latest prices")
        before = drawn(desk.page).columns
        desk.until(lambda: drawn(desk.page).columns != before, "the line moves")
        assert drawn(desk.page).covered(0.97, 1) > 0


def has_gap(desk, prices):
    """Wait for a gap of 10 of the 300 seconds or more."""
    seen = []
    try:
        desk.until(lambda: seen.append(drawn(desk.page).gap()) or 0.02 < seen[-1] < 0.5, "a gap")
    except AssertionError:
        pytest.fail(f"the widest gap in {prices} prices is {seen[-1]} of the width")


def test_an_outage_is_a_gap_in_the_line_once_prices_are_back(past, opened):
    with opened(**DARK) as desk:
        desk.until(lambda: drawn(desk.page).covered(0.95, 0.97) > 0.9, "a line without a gap")
        try:
            for venue in ("RAYDIUM", "METEORA"):
                assert past.engine.manage("sandbox", "venue", venue, "down").returncode == 0
            # BEST may be the older quote of the two, by up to 2 s, and a line is broken after 10 s without any.
            desk.until(lambda: "too old to trade on: over 15 s" in desk.text("#stale"), "prices are too old")
        finally:
            for venue in ("RAYDIUM", "METEORA"):
                assert past.engine.manage("sandbox", "venue", venue, "up").returncode == 0
        desk.until(lambda: desk.text("#age") == "< 1 s", "prices again")
        # 10 of the 300 seconds and more.
        has_gap(desk, "live")
        desk.page.reload()
        desk.is_live()
        has_gap(desk, "recorded")


def test_the_range_is_chosen_by_keyboard_and_survives_a_change_of_pair(past, opened):
    with opened(**DARK) as desk:
        desk.page.focus("input[name=range]:checked")
        desk.page.keyboard.press("ArrowRight")
        assert desk.page.input_value("input[name=range]:checked") == "1h"
        desk.page.select_option("#pair", PAIR)
        desk.until(lambda: drawn(desk.page).covered(*past.part(HOUR, 1_450, 650)) > 0.95, "the hour")
        assert desk.page.input_value("input[name=range]:checked") == "1h"
