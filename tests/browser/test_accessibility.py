"""axe-core finds nothing serious on any kind of page, in light and dark, on a desktop and on a phone."""

import pytest

from tests.browser.console import LISTS, Console

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
pytestmark = pytest.mark.system

SERIOUS = ("serious", "critical")


def look(scheme, width, height, *marks):
    """Describe a page's look."""
    viewport = {"width": width, "height": height}
    return pytest.param({"color_scheme": scheme, "viewport": viewport}, id=f"{scheme}-{width}", marks=marks)


# Each scheme and each width once: what is too pale is so at any width, and what has no name in any light.
LOOKS = [look("light", 390, 844), look("dark", 1440, 900)]
OTHERS = [look("light", 1440, 900, pytest.mark.long), look("dark", 390, 844, pytest.mark.long)]
FORMS = (
    *("orders/pause/add/", "orders/incidentnote/add/", "orders/order/cancel/", "restart/"),
    *("routing/token/add/", "routing/pair/add/", "auth/user/add/", "auth/group/add/"),
)
LISTS_WITH_PAGES = (
    "orders/guard",
    "orders/order",
    "orders/attempt",
    "orders/deadletter",
    "routing/pair",
    "routing/token",
    "routing/ledgerentry",
    "django_celery_beat/periodictask",
    "auth/user",
)


def violations(page, where):
    """Return what axe holds to be serious or worse, with the elements."""
    # The axe of a page is gone with the page; it is put in by the debugger, so no policy has to let it in.
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(axe.Axe().axe_script)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    assert page.evaluate("axe.version")
    return [
        f"{where}: {one['id']} ({one['impact']}) {[node['target'] for node in one['nodes']][:5]} {one['help']}"
        for one in found
        if one["impact"] in SERIOUS
    ]


def test_axe_sees_what_is_wrong(page):
    blank = page()
    blank.set_content("<html lang=en><title>Wrong</title><p style='color:#aaa;background:#fff'>pale</p><img src=x>")
    said = " ".join(violations(blank, "wrong"))
    assert "color-contrast" in said
    assert "image-alt" in said
    blank.context.close()


@pytest.mark.parametrize("look", [*LOOKS, *OTHERS])
def test_the_desk(opened, scene, look):
    with opened(on=scene.engine, **look) as desk:
        desk.expected = ("status of 400",)
        letter, waiting = scene.failed_for_good(), scene.wait()
        desk.find(letter)
        found = violations(desk.page, "market")
        desk.timeline(letter)
        desk.fill(amount="1")
        desk.until(lambda: "USDC" in desk.text("#estimate .strong"), "an estimate")
        found += violations(desk.page, "estimate and an opened order")
        desk.choose("limit")
        desk.fill(amount="-1", limitPrice="1.2345")
        desk.until(lambda: desk.text("#amount-error") and desk.text("#problem"), "the errors")
        found += violations(desk.page, "limit with errors")
        desk.choose("sniper")
        desk.fill(tokenOut="WIF", amount="1")
        desk.until(lambda: "Token check" in desk.page.locator("#estimate").inner_text(), "the token checks")
        desk.find(waiting).get_by_role("button", name="Amend").click()
        desk.page.wait_for_selector("form.amend")
        found += violations(desk.page, "sniper, and an order being amended")
    assert found == []


@pytest.mark.parametrize("look", LOOKS)
def test_every_kind_of_page_of_the_admin(page, scene, look):
    console = Console(page(**look), scene.engine)
    console.go()
    found = violations(console.page, "login")
    console.enter()
    found += violations(console.page, "dashboard")
    wide = []
    for path in (*(f"{one}/" for one in LISTS), *FORMS, "orders/order/?q=01", "password_change/"):
        console.go(path)
        found += violations(console.page, path)
        wide += [path] if console.width() > look["viewport"]["width"] else []
    for listing in LISTS_WITH_PAGES:
        console.open_first(listing)
        found += violations(console.page, f"{listing} page")
        wide += [listing] if console.width() > look["viewport"]["width"] else []
    assert found == []
    assert wide == [], "reach out of sight"
    assert console.complaints() == []
    console.close()
