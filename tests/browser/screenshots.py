"""Pictures of desk and admin for the README: an engine of its own trades until there is something to see.

`.venv/bin/python -m tests.browser.screenshots` writes them to tests/browser/pictures.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tests.browser.console import Console
from tests.browser.desk import Desk
from tests.browser.scene import LIVELY, Scene
from tests.browser.watched import CHROMIUM, WITHIN_S
from tests.system import System, system

PICTURES = Path(__file__).parent / "pictures"
MARKET = {**LIVELY, "MOCK_CONFIRM_DELAY_MS": "4000-9000", "MOCK_REJECT_RATE": "0.3"}
"""Slow enough that a picture finds orders on their way."""
PRICES = 140
"""Different prices the chart has to show."""
BYTES_MAX = 250_000
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 1400}, "has_touch": True}
"""As wide as a phone, and as long as what is looked at first."""


def main() -> None:
    """Trade, then take the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with system(MARKET) as engine, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        scene = Scene(engine)
        with desk(browser, engine, **DESKTOP) as watching:
            trade(scene, watching)
            take_desk(browser, scene)
        take_admin(browser, scene)
        browser.close()


@contextmanager
def desk(browser: Browser, engine: System, **look: Any) -> Iterator[Desk]:
    """Open a desk."""
    one = Desk(new_page(browser, **look), engine)
    try:
        one.open()
        yield one
    finally:
        one.close()


def new_page(browser: Browser, **look: Any) -> Any:
    """Open a page that waits as long as a busy machine needs."""
    context = browser.new_context(**look)
    context.set_default_timeout(WITHIN_S * 1000)
    return context.new_page()


def trade(scene: Scene, watching: Desk) -> None:
    """Trade while prices go by, until there is everything to see: fills, failures, dead letters, a line of prices."""
    scene.too_much()
    seen: set[str] = set()
    while len(seen) < PRICES:
        if len(seen) % 5 == 0:
            scene.trade(1)
        known = len(seen)
        watching.until(lambda: seen.add(watching.text("#best")) or len(seen) > known, "another price")  # noqa: B023
    scene.failed_for_good()
    scene.letters(2)


def take_desk(browser: Browser, scene: Scene) -> None:
    """Take the desk with orders at rest, on their way and ended, and an estimate."""
    scene.rest()
    for name, look in (
        ("desk-light", {**DESKTOP, "color_scheme": "light"}),
        ("desk-dark", {**DESKTOP, "color_scheme": "dark"}),
        ("desk-phone", {**PHONE, "color_scheme": "dark"}),
    ):
        with desk(browser, scene.engine, **look) as one:
            one.choose("limit")
            one.fill(amount="2.5", limitPrice=f"{scene.best() * 1.02:.2f}")
            one.until(lambda: "away" in one.text("#estimate"), "an estimate")
            scene.trade(2)
            one.page.wait_for_selector(".order[data-status=submitted] [data-state=now]")
            one.page.evaluate("document.activeElement.blur()")
            keep(one.page, name)


def take_admin(browser: Browser, scene: Scene) -> None:
    """Take the dashboard by day and by night, and the page of an order that needed a second try."""
    for scheme in ("light", "dark"):
        console = Console(
            new_page(browser, viewport={"width": 1440, "height": 1000}, color_scheme=scheme), scene.engine
        )
        console.enter()
        keep(console.page, f"dashboard-{scheme}")
        if scheme == "light":
            console.go(f"orders/order/{scene.tried_again()}/change/")
            console.page.wait_for_selector(".timeline")
            keep(console.page, "order")
        console.close()


def keep(page: Any, name: str) -> None:
    """Write a picture, with its fonts and without what blinks."""
    page.evaluate("document.fonts.ready.then(() => true)")
    picture = page.screenshot(path=PICTURES / f"{name}.png", animations="disabled", caret="hide")
    assert len(picture) <= BYTES_MAX, f"{name}.png has {len(picture)} bytes, more than {BYTES_MAX}"
    print(f"{name}.png  {len(picture) // 1024} kB")


if __name__ == "__main__":
    main()
