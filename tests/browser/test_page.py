"""The page itself: what it is made of, where that comes from, and that it stays in place."""

import base64
import hashlib
import re
import subprocess
import sys

import httpx
import pytest

from config.env import ROOT
from tests.browser.desk import NOTHING
from tests.system import outside

pytestmark = pytest.mark.system

VENDOR = ROOT / "orders/static/desk/vendor"


def test_the_chart_library_is_the_file_whose_hash_the_page_and_the_notice_name():
    page = (ROOT / "templates/desk/desk.html").read_text()
    (name, pinned) = re.search(
        r"desk/vendor/(lightweight-charts-[\d.]+\.js).*?integrity=\"sha384-([^\"]+)\"", page, re.S
    ).groups()
    library = (VENDOR / name).read_bytes()
    assert base64.b64encode(hashlib.sha384(library).digest()).decode() == pinned
    assert hashlib.sha256(library).hexdigest() in (VENDOR / "NOTICE").read_text()
    assert "Apache License" in (VENDOR / "LICENSE").read_text()
    assert "tradingview.com" in page


def test_the_command_of_the_pictures_needs_no_settings():
    started = [sys.executable, "-c", "import tests.browser.screenshots"]
    done = subprocess.run(started, cwd=ROOT, env=outside(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_inline_and_nothing_from_elsewhere_is_allowed(engine):
    answer = httpx.get(engine.url)
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    host = engine.url.removeprefix("http://")
    assert f"connect-src 'self' ws://{host} wss://{host}" in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bstyle=|\bon\w+=", answer.text)


def test_the_page_comes_up_without_a_complaint_and_nothing_moves_about(desk):
    # A venue that has not quoted yet is told of in a bar of its own, which goes.
    desk.until(lambda: desk.text("#link") == "live", "an engine of which there is nothing to tell")
    desk.page.reload()
    desk.page.wait_for_selector("#chart canvas")
    desk.until(lambda: desk.text("#gap") != NOTHING, "the price gap")
    desk.fill(amount="1")
    desk.until(lambda: "USDC" in desk.text("#estimate"), "an estimate")
    best = desk.text("#best")
    desk.until(lambda: desk.text("#best") != best, "another price")
    assert desk.page.evaluate("window.shift") < 0.02, desk.page.evaluate("window.shifted")


def test_whoever_logs_out_is_asked_who_he_is(page, engine):
    # A session of its own: the tests share one.
    one = page()
    one.goto(f"{engine.url}/")
    one.fill("[name=username]", "admin")
    one.fill("[name=password]", (engine.data_dir / "admin-password").read_text().strip())
    one.keyboard.press("Enter")
    one.get_by_role("button", name="Log out").click()
    one.wait_for_url("**/login/")
    one.goto(f"{engine.url}/")
    assert "/login/" in one.url
    one.context.close()


def test_the_pair_is_in_the_address_and_survives_a_reload(desk):
    desk.page.select_option("#pair", "JUP-USDC")
    desk.until(lambda: desk.text("#sold") == "JUP", "the ticket sells JUP")
    desk.until(lambda: desk.text("#best").startswith("0.") or desk.text("#best").startswith("1."), "its price")
    desk.page.reload()
    desk.is_live()
    assert desk.page.input_value("#pair") == "JUP-USDC"
    desk.side("Buy")
    assert desk.page.input_value("#pair") == "JUP-USDC"
    assert desk.page.url.endswith("#USDC-JUP")
    assert (desk.text("#verb"), desk.text("#sold")) == ("Spend", "USDC")
    desk.page.reload()
    desk.is_live()
    desk.until(lambda: desk.text("#place") == "Buy JUP, market order", "the side is in the address, too")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_all_of_it_is_within_reach(opened, scheme):
    with opened(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=scheme) as desk:
        width = "document.documentElement.scrollWidth"
        assert desk.page.evaluate(width) <= 390
        desk.fill(amount="0.25")
        order_id = desk.place()
        desk.ends(order_id, "confirmed")
        assert desk.timeline(order_id) == desk.told(order_id)
        assert desk.page.evaluate(width) <= 390
        heights = desk.page.eval_on_selector_all(
            "main button, main select, .field input:not([type=radio]), .tabs span",
            "all => all.filter(one => one.offsetParent).map(one => one.offsetHeight)",
        )
        assert min(heights) >= 34
