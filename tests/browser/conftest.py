"""Two engines, one Chromium, and a page of its own for each test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.console import Console
from tests.browser.desk import SLOW_ENOUGH, Desk
from tests.browser.scene import LIVELY, Scene
from tests.browser.watched import CHROMIUM, WITHIN_S
from tests.flows.tides import tide
from tests.system import System, quoted, system

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="package")
def engine(tmp_path_factory) -> Iterator[System]:
    """An engine whose SOL-USDC price is 150 for four seconds, 160 for two, over and over."""
    with system({**tide(tmp_path_factory.mktemp("tide"), ["150", "150", "160"], 30), **SLOW_ENOUGH}) as running:
        quoted(running)
        yield running


@pytest.fixture(scope="package")
def scene() -> Iterator[Scene]:
    """An engine in which everything happens, and has happened."""
    with system(LIVELY) as running:
        one = Scene(running)
        one.rest()
        one.too_much()
        one.failed_for_good()
        one.tried_again()
        one.letters(2)
        yield one
        one.http.close()


@pytest.fixture(scope="package")
def chromium():
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """Open pages, each as if it were another person's."""

    def open_page(**options):
        context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        context.set_default_timeout(WITHIN_S * 1000)
        return context.new_page()

    return open_page


@contextmanager
def watched(one):
    """Use a page, which afterwards must not have complained."""
    try:
        yield one
        assert one.complaints() == []
    finally:
        one.close()


@pytest.fixture
def opened(page, request):
    """Open desks; afterwards none may have complained, or shown an order going backwards."""

    @contextmanager
    def open_desk(on=None, **options):
        # Which engine runs is the test's choice: another one beside it would only take its time.
        with watched(Desk(page(**options), on or request.getfixturevalue("engine"))) as desk:
            desk.open()
            yield desk

    return open_desk


@pytest.fixture
def desk(opened):
    with opened() as one:
        yield one


@pytest.fixture
def console(page, scene):
    """Open the admin, as somebody who has logged in."""

    @contextmanager
    def open_console(**options):
        with watched(Console(page(**options), scene.engine)) as one:
            one.enter()
            yield one

    return open_console
