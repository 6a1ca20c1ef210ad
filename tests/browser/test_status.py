"""The page never pretends: before a click it shows what is down, stopped or too old, and what cannot be placed."""

import os
import re
import signal
from contextlib import contextmanager

import pytest

from tests.browser.desk import NOTHING

pytestmark = pytest.mark.system

BOTH = ("RAYDIUM", "METEORA")


@contextmanager
def stopped(desk, *words):
    """Pause or halt something for a while."""
    done = desk.engine.manage(*words, "--reason", "odd prices", "--operator", "ops")
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        done = desk.engine.manage("resume", *words[1:], "--operator", "ops")
        assert done.returncode == 0, done.stderr


@contextmanager
def down(desk, *names):
    """Take venues down for a while."""
    try:
        for name in names:
            assert desk.engine.manage("sandbox", "venue", name, "down").returncode == 0
        yield
    finally:
        for name in names:
            assert desk.engine.manage("sandbox", "venue", name, "up").returncode == 0


def refused(desk, why):
    """Wait until the ticket says at its button why it cannot be placed; an attempt must place nothing."""
    desk.until(lambda: why in desk.text("#problem"), "the reason")
    assert desk.page.get_attribute("#place", "aria-disabled") == "true"
    assert desk.page.get_attribute("#place", "aria-describedby") == "problem"
    before = desk.ids()
    desk.page.locator("#place").click(force=True)
    desk.page.keyboard.press("Enter")
    desk.page.wait_for_timeout(500)
    assert desk.ids() == before
    assert not desk.text("#outcome")


def becomes_live(desk):
    """Wait until everything is well again."""
    desk.is_live()
    assert not desk.page.locator("#notices").is_visible()


def test_a_mock_market_is_called_one_at_any_width(opened):
    for width in (1440, 390):
        with opened(viewport={"width": width, "height": 844}) as desk:
            assert desk.page.get_by_text("Mock market").is_visible()
            assert desk.width() <= width


@pytest.mark.parametrize(
    "words", [("pause", "SOL-USDC"), ("halt", "SOL-USDC"), ("pause", "everything"), ("halt", "everything")]
)
def test_what_operators_stop_is_shown_with_the_reason_and_cannot_be_traded(desk, words):
    desk.fill(amount="1")
    with stopped(desk, *words):
        state = {"pause": "paused", "halt": "halted"}[words[0]]
        is_all = words[1] == "everything"
        desk.until(lambda: desk.text("#link") == (state if is_all else f"selling {state}"), "the word")
        subject = "Trading" if is_all else "Selling SOL for USDC"
        assert re.fullmatch(rf"{subject} is {state} since [0-9:]+: odd prices\.", desk.text("#notices"))
        refused(desk, f"{'trading' if is_all else 'SOL-USDC'} is {state}: odd prices.")
    becomes_live(desk)
    desk.until(lambda: desk.page.get_attribute("#place", "aria-disabled") == "false", "it can be placed")


def test_an_order_that_a_pause_keeps_from_firing_says_so_and_the_other_side_trades_on(desk):
    desk.choose("limit")
    desk.fill(amount="1", limitPrice="900")
    row = desk.row(desk.place())
    with stopped(desk, "pause", "SOL-USDC"):
        desk.until(lambda: row.locator(".problem").inner_text() == "Does not fire: paused.", "its row")
        assert desk.text("#outcome") == "", "what was accepted is no promise now"
        desk.side("Buy")
        desk.fill(amount="10", limitPrice="20")
        other = desk.row(desk.place())
        assert not other.locator(".problem").is_visible()
    desk.until(lambda: not row.locator(".problem").is_visible(), "it can fire again")
    for one in (row, other):
        desk.http.delete(f"/api/orders/{one.get_attribute('data-order')}")


def test_a_venue_that_is_down_is_named_and_the_other_is_traded_on(desk):
    with down(desk, "RAYDIUM"):
        desk.until(lambda: desk.text("#link") == "RAYDIUM down", "the word")
        assert "RAYDIUM does not quote" in desk.text("#notices")
        assert desk.text("#gap") == NOTHING, "a price that is old is not compared"
        desk.fill(amount="1.21")
        assert desk.ends(desk.place(), "confirmed").locator(".c-venue span").inner_text() == "METEORA"
    # It quotes again, and its breaker is open for a while.
    desk.until(lambda: desk.text("#link") == "RAYDIUM failing", "the word")
    assert "RAYDIUM's breaker is open until" in desk.text("#notices")
    becomes_live(desk)


def test_without_a_price_a_market_order_cannot_be_placed_and_one_that_waits_can(desk):
    desk.fill(amount="1")
    with down(desk, *BOTH):
        desk.until(lambda: desk.text("#link") == "no prices", "the word")
        refused(desk, "no venue has a usable quote")
        desk.choose("limit")
        desk.fill(limitPrice="800")
        desk.until(lambda: desk.page.get_attribute("#place", "aria-disabled") == "false", "it can wait for a price")
        desk.http.delete(f"/api/orders/{desk.place()}")
    becomes_live(desk)


def test_an_order_too_large_for_its_pools_cannot_be_placed(desk):
    desk.fill(amount="900000")
    refused(desk, "exceeds the limit of 10 %")


def test_an_order_beyond_a_trading_limit_cannot_be_placed(desk):
    limit = ("--kind", "order-value", "--operator", "ops")
    assert desk.engine.manage("limits", "set", *limit, "--reason", "a test", "300").returncode == 0
    try:
        desk.fill(amount="5")
        refused(desk, "one order of all trading may be worth 300.00 USD")
    finally:
        assert desk.engine.manage("limits", "remove", *limit).returncode == 0
    desk.until(lambda: desk.page.get_attribute("#place", "aria-disabled") == "false", "it can be placed")


def test_an_engine_that_lacks_a_worker_says_so(desk):
    worker = desk.engine.pids()["sniper"]
    os.kill(worker, signal.SIGSTOP)
    try:
        desk.until(lambda: desk.text("#link") == "engine degraded", "the word")
        assert "no sniper worker answers" in desk.text("#notices")
    finally:
        os.kill(worker, signal.SIGCONT)
    becomes_live(desk)
