"""One engine with a price that comes and goes, one Chromium, and a page of its own for each test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.desk import CHROMIUM, SLOW_ENOUGH, Desk
from tests.chaos.ledgers import quoted
from tests.flows.tides import tide
from tests.system import System, system

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="package")
def engine(tmp_path_factory) -> Iterator[System]:
    """An engine whose SOL-USDC price is 150 for four seconds, 160 for two, over and over."""
    with system({**tide(tmp_path_factory.mktemp("tide"), ["150", "150", "160"], 30), **SLOW_ENOUGH}) as running:
        quoted(running)
        yield running


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
def opened(chromium, engine):
    """Open desks; afterwards none may have complained, or shown an order going backwards."""

    @contextmanager
    def open_desk(**options):
        context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        context.set_default_timeout(20_000)
        desk = Desk(context.new_page(), engine)
        try:
            desk.open()
            yield desk
            assert desk.complaints() == []
        finally:
            context.close()
            desk.http.close()

    return open_desk


@pytest.fixture
def desk(opened):
    with opened() as one:
        yield one
