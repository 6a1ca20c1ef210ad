"""What an operator sees and does in the admin."""

import os
import signal
import subprocess
import sys
from base64 import b32decode
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from django_otp.oath import TOTP

from config.env import ROOT
from tests.browser.console import LISTS, Console

pytestmark = pytest.mark.system


def test_a_wrong_password_is_refused_in_words_and_the_right_one_lets_in(page, scene):
    one = Console(page(), scene.engine)
    one.log_in("wrong")
    one.page.wait_for_selector("#login-form, form")
    one.until(lambda: "correct username and password" in one.text("body"), "the refusal")
    one.enter()
    assert one.page.title().startswith("Dashboard")
    assert one.complaints() == []
    one.close()


def test_the_dashboard_draws_its_figures_and_goes_on_without_a_reload(console, scene):
    with console() as one:
        assert one.page.locator("#dashboard svg rect:not(.hover)").count() > 0
        one.page.evaluate("window.sameDocument = true")
        legend = one.page.locator("#dashboard .legend li", has_text="confirmed")
        before = legend.inner_text()
        landed = one.page.locator("section[aria-label=Venues] tbody").inner_text()
        scene.ended(scene.trade(8))
        one.until(lambda: legend.inner_text() != before, "the new orders")
        one.until(lambda: one.page.locator("section[aria-label=Venues] tbody").inner_text() != landed, "their attempts")
        assert one.page.evaluate("window.sameDocument")
        for name in ("Time per stage", "Quote age", "Resting orders", "Retries", "Dead letters"):
            assert one.page.locator(f"section[aria-label='{name}'] tbody tr").count() > 0, name


def test_the_dashboard_says_when_it_is_not_reached_and_goes_on_afterwards(console):
    with console() as one:
        one.expected = ("Failed to load resource", "ERR_")
        one.page.context.set_offline(True)
        one.page.wait_for_selector("#dashboard .live.lost")
        assert "retrying in" in one.text("#dashboard .updated")
        one.page.context.set_offline(False)
        one.page.wait_for_selector("#dashboard .live:not(.lost)")


def test_the_dashboard_says_which_part_is_not_well_and_what_to_do(console, scene):
    with console() as one:
        strip = one.page.locator("#dashboard .strip")
        one.until(lambda: "workers ok" in strip.inner_text().replace("\n", " "), "every worker works")
        assert scene.engine.manage("pause", "SOL-USDC", "--reason", "a test", "--operator", "ops").returncode == 0
        one.until(lambda: "SOL-USDC is paused: a test (ops)" in strip.inner_text(), "the pause")
        strip.locator("li", has_text="trading").get_by_role("link", name="Acknowledge").click()
        one.page.fill("[name=note]", "agreed with the desk")
        one.page.get_by_role("button", name="Save", exact=True).click()
        one.until(lambda: "acknowledged by admin until" in strip.inner_text(), "the note")
        assert scene.engine.manage("resume", "SOL-USDC").returncode == 0
        frozen = scene.engine.pids()["limit"]
        os.kill(frozen, signal.SIGSTOP)
        try:
            one.until(lambda: "no limit worker answers" in strip.inner_text(), "the frozen worker")
            assert "one that is frozen needs `manage.py restart`" in strip.inner_text()
        finally:
            os.kill(frozen, signal.SIGCONT)
        one.until(lambda: strip.locator("li.ok").count() == 5, "all is well again")


def test_an_order_is_found_by_the_beginning_of_its_id_and_tells_its_story(console, scene):
    order_id = scene.tried_again()
    events = scene.events(order_id)
    with console() as one:
        one.go("orders/order/")
        one.page.fill("#searchbar", order_id[:23])
        one.page.press("#searchbar", "Enter")
        one.page.locator(f"#result_list a[href*='{order_id}']").first.click()
        story = one.text(".story p")
        assert story.startswith(f"A {events[0]['type']} order to sell {events[0]['amountIn']} SOL for USDC got ")
        assert events[-1]["executedPrice"] in story
        shown = one.page.locator(".timeline > table > tbody > tr").evaluate_all(
            "all => all.map(row => [row.cells[0].textContent.trim(), row.cells[1].textContent.trim()])"
        )
        assert shown == [[str(event["seq"]), event["status"]] for event in events]
        facts = one.text(".timeline")
        assert all(event["txHash"] in facts for event in events if event.get("txHash"))


def test_a_dead_letter_is_replayed_once_and_leads_to_the_new_order(console, scene):
    order_id = scene.failed_for_good()
    with console() as one:
        one.go(f"orders/deadletter/?q={order_id}")
        one.until(lambda: one.page.reload() and one.page.locator("#result_list tbody tr").count() == 1, "the letter")
        one.page.locator("#result_list tbody th a, #result_list tbody td a").first.click()
        one.page.locator("a.act", has_text="Replay").click()
        one.until(lambda: "No double execution: none of its" in one.said(), "what is weighed before a replay")
        assert "Price then" in one.said() and "Price now" in one.said()
        one.page.fill("input[name=reason]", "venues are back")
        one.page.locator("button.act", has_text="Replay").click()
        one.until(lambda: f"{order_id} replayed as" in one.said(), "where it went")
        assert not one.page.locator("a.act", has_text="Replay").count()
        replays = scene.http.get("/api/orders", params={"limit": 200}).json()["results"]
        (again,) = [order["orderId"] for order in replays if order.get("replayOf") == order_id]
        assert again in one.said()
        one.page.locator(f"a[href*='{again}']").first.click()
        one.page.wait_for_url(f"**/orders/order/{again}/change/")


def test_a_replay_that_cannot_help_is_refused_with_the_reason(console, scene):
    order_id = scene.too_much()
    scene.ended([order_id])
    with console() as one:
        one.go(f"orders/deadletter/?q={order_id}")
        one.until(lambda: one.page.reload() and one.page.locator("#result_list tbody tr").count() == 1, "the letter")
        one.page.locator("#result_list .action-select").check()
        one.page.select_option("select[name=action]", "replay_selected")
        one.page.get_by_role("button", name="Run").click()
        one.until(lambda: "Nothing here can be replayed now" in one.said(), "the refusal")
        assert "failed with price_impact, which a replay cannot help" in one.said()
        assert not one.page.locator("button.act", has_text="Replay").count()


def test_a_pause_refuses_orders_at_the_api_and_on_the_desk_until_it_is_ended(console, opened, scene):
    order = {"type": "market", "tokenIn": "SOL", "tokenOut": "JUP", "amount": "1"}
    reason = "the pool is being moved"
    with console() as one, opened(on=scene.engine) as desk:
        desk.page.select_option("#pair", "JUP-SOL")
        desk.side("Buy")
        desk.until(lambda: desk.page.url.endswith("#SOL-JUP"), "the pair")
        one.go("orders/pause/")
        one.page.select_option("select[name=what]", "pair:SOL-JUP")
        one.page.fill("input[name=reason]", reason)
        one.page.locator(".controls button", has_text="Pause").click()
        one.until(lambda: f"is paused: {reason}" in one.said(), "it is paused")
        answer = one.until(
            lambda: (refused := scene.http.post("/api/orders/execute", json=order)).status_code == 503 and refused,
            "the API refuses",
        )
        error = answer.json()["error"]
        assert (error["code"], reason in error["message"]) == ("paused", True)
        desk.fill(amount="1")
        desk.until(lambda: reason in desk.text("#problem"), "the desk says so at the button")
        assert desk.page.get_attribute("#place", "aria-disabled") == "true"
        assert reason in desk.text("#notices")
        one.page.get_by_role("button", name="Resume").click()
        one.until(lambda: "is resumed" in one.said(), "it is resumed")
        one.until(lambda: scene.http.post("/api/orders/execute", json=order).status_code == 202, "it is traded again")
        one.go("orders/act/")
        rows = one.page.locator("#result_list tbody tr").all_inner_texts()
        assert "Resumed" in rows[0]
        assert f"Paused: {reason}" in rows[1]
        assert all("admin" in row and "SOL-JUP" in row for row in rows[:2])


def test_on_a_phone_every_list_is_within_reach(console):
    with console(viewport={"width": 390, "height": 844}, has_touch=True) as one:
        assert one.width() <= 390
        assert [listing for listing in LISTS if reaches_out(one, listing)] == []


def reaches_out(one, listing):
    """Tell whether a list is wider than the screen it is shown on."""
    one.go(f"{listing}/")
    return one.width() > 390


@contextmanager
def authenticator(engine):
    """Give the admin a second factor for a while, as a person with a phone would; yields the next code."""
    command = [sys.executable, "manage.py", "secondfactor", "admin"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env={**engine.environ(), **engine.settings}, **pipes) as setting_up:
        link = next(line for line in setting_up.stdout if line.startswith("otpauth://"))
        secret = b32decode(parse_qs(urlsplit(link).query)["secret"][0])
        said, _ = setting_up.communicate(f"{TOTP(secret).token():06}\n", timeout=60)
    try:
        assert setting_up.returncode == 0, said
        yield f"{TOTP(secret, drift=1).token():06}"
    finally:
        assert engine.manage("secondfactor", "admin", "--remove").returncode == 0


def test_who_has_a_second_factor_gives_its_code_too(page, scene):
    with authenticator(scene.engine) as code:
        one = Console(page(), scene.engine)
        one.log_in()
        one.until(lambda: "the code if you have a second factor" in one.text("body"), "the refusal")
        one.page.fill("#id_otp_token", code)
        one.page.fill("#id_username", "admin")
        one.page.fill("#id_password", one.password)
        one.page.locator("#id_password").press("Enter")
        one.page.wait_for_selector("#dashboard svg")
        assert one.complaints() == []
        one.close()


def test_five_wrong_passwords_lock_the_login_in_words_that_say_for_how_long(page, scene):
    one = Console(page(), scene.engine)
    one.expected = ("status of 429",)
    one.go()
    for _ in range(5):
        one.page.fill("#id_username", "somebody")
        one.page.fill("#id_password", "wrong")
        one.page.locator("#id_password").press("Enter")
        one.page.wait_for_load_state()
    one.until(lambda: "refused for 15 minutes" in one.text("body"), "the lock")
    one.enter()
    assert one.complaints() == []
    one.close()
