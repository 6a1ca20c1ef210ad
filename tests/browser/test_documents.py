"""The pages that describe the API work under the policy they are sent with."""

import pytest

from tests.browser.conftest import watched
from tests.browser.watched import Watched

pytestmark = pytest.mark.system

LOGO = "https://cdn.redoc.ly/"


@pytest.fixture
def read(page, scene):
    """Open a page of the description, which must not complain."""

    def open_document(path):
        one = Watched(page(), scene.engine)
        assert one.page.goto(scene.engine.url + path).status == 200
        return watched(one)

    return open_document


def test_swagger_shows_the_api_and_tries_it(read):
    with read("/api/docs/") as one:
        one.page.context.add_cookies([one.engine.session])
        one.page.locator(".opblock-summary-path", has_text="/api/pairs").click()
        one.page.get_by_role("button", name="Try it out").click()
        one.page.locator("button.execute").click()
        one.until(lambda: "SOL-USDC" in one.text(".responses-table.live-responses-table"), "the pairs")


def test_redoc_shows_the_api_and_finds_in_it(read):
    with read("/api/redoc/") as one:
        one.page.wait_for_selector("h1")
        one.page.get_by_placeholder("Search...").press_sequentially("batch")
        one.page.wait_for_selector("[role=search] [role=menuitem]")
        # Its maker's logo is on the maker's server, and stays there.
        one.expected = (LOGO,)
        assert all(url.startswith(LOGO) for url in one.elsewhere)
        assert one.page.evaluate("window.violations.splice(0)") == ["img-src"]
        one.elsewhere.clear()


def test_the_sockets_are_described(read):
    with read("/api/docs/ws/") as one:
        assert one.page.locator("section").count() > 4
