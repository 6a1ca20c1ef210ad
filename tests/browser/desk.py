"""The desk as a person has it in front of them: what can be seen on it, and what can be done."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.system import System

CHROMIUM = "/usr/bin/chromium"
SLOW_ENOUGH = {"MOCK_CONFIRM_DELAY_MS": "200-600"}
"""Orders take long enough to be seen moving."""
WITHIN_S = 20.0
NOTHING = "\N{EN DASH}"
"""What stands for a figure that is not there."""

# Runs before the page's own code: every change of a row is kept, and every shift of the layout nobody asked for.
WATCH = """
window.seen = {}; window.backwards = []; window.shift = 0; window.shifted = []; window.violations = [];
new MutationObserver((changes) => {
  for (const { target } of changes) {
    const id = target.dataset?.order, seq = Number(target.dataset?.seq);
    if (!id || !seq) continue;
    const before = window.seen[id] || 0;
    if (seq < before) window.backwards.push([id, before, seq]);
    window.seen[id] = seq;
  }
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-seq"] });
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue;
    window.shift += entry.value;
    for (const { node } of entry.sources) window.shifted.push(node?.outerHTML?.slice(0, 80) || String(node?.nodeName));
  }
}).observe({ type: "layout-shift", buffered: true });
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


class Desk:
    """One page."""

    def __init__(self, page: Any, engine: System) -> None:
        self.page, self.engine = page, engine
        self.http = httpx.Client(base_url=engine.url, trust_env=False)
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Parts of console messages that this test provokes."""
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.note(request.url))
        page.add_init_script(WATCH)

    def note(self, url: str) -> None:
        """Remember what was asked of another server."""
        if not url.startswith((self.engine.url, self.engine.ws, "data:", "blob:")):
            self.elsewhere.append(url)

    def open(self) -> None:
        """Load the page and wait until both its lines stand."""
        self.page.goto(self.engine.url)
        self.is_live()

    def is_live(self) -> None:
        """Wait until the page says so."""
        self.page.wait_for_selector("#link[data-state=live]")
        self.until(lambda: self.text("#best") not in (NOTHING, ""), "a price")

    def complaints(self) -> list[Any]:
        """Return what must not have happened."""
        errors = [text for text in self.errors if not any(part in text for part in self.expected)]
        broken = self.page.evaluate("[...window.backwards, ...window.violations]")
        return [*errors, *self.elsewhere, *broken]

    def until(self, check: Callable[[], Any], what: str) -> Any:
        """Return the first true answer."""
        deadline = time.monotonic() + WITHIN_S
        while not (answer := check()):
            assert time.monotonic() < deadline, f"not within {WITHIN_S} s: {what}"
            self.page.wait_for_timeout(50)
        return answer

    def text(self, selector: str) -> str:
        """Return what an element says."""
        found: str = self.page.locator(selector).first.inner_text()
        return found.strip()

    def choose(self, kind: str) -> None:
        """Choose the type of order."""
        self.page.locator("fieldset.tabs label", has_text=kind.capitalize()).click()

    def fill(self, **fields: str) -> None:
        """Type into the ticket's fields."""
        for name, value in fields.items():
            self.page.fill(f"#{name}", value)

    def place(self) -> str:
        """Press the button; return the id of the order whose row appears."""
        before = set(self.ids())
        # Its own outcome is waited for: that of the order before may still be there.
        self.page.evaluate("document.querySelector('#outcome').textContent = ''")
        self.page.click("#place")
        self.until(lambda: self.text("#outcome").startswith("Accepted"), "it is accepted")
        (new,) = self.until(lambda: [one for one in self.ids() if one not in before], "a row")
        return str(new)

    def ids(self, status: str = "") -> list[str]:
        """Return the orders in the list, from above; those of one status, or all."""
        rows = f"#rows .order[data-status={status}]" if status else "#rows .order"
        found: list[str] = self.page.eval_on_selector_all(rows, "all => all.map(one => one.dataset.order)")
        return found

    def row(self, order_id: str) -> Any:
        """Return an order's row."""
        return self.page.locator(f"[data-order='{order_id}']")

    def ends(self, order_id: str, status: str) -> Any:
        """Wait until the row says how the order ended."""
        self.page.wait_for_selector(f"[data-order='{order_id}'][data-status={status}]")
        return self.row(order_id)

    def stages(self, order_id: str) -> list[tuple[str, str]]:
        """Return the progress line: what each segment says, and its state."""
        found = (
            self.row(order_id)
            .locator(".line li")
            .evaluate_all("all => all.map(one => [one.querySelector('span').textContent, one.dataset.state])")
        )
        return [(label, state) for label, state in found]

    def timeline(self, order_id: str) -> list[tuple[str, str]]:
        """Open an order; return seq and status of each entry of its timeline."""
        row = self.row(order_id)
        if row.locator(".toggle").get_attribute("aria-expanded") == "false":
            row.locator(".toggle").click()
        found = row.locator(".timeline li").evaluate_all("all => all.map(one => [one.dataset.seq, one.dataset.status])")
        return [(seq, status) for seq, status in found]

    def told(self, order_id: str) -> list[tuple[str, str]]:
        """Return the same as the API has it."""
        events = self.http.get(f"/api/orders/{order_id}/events").json()["events"]
        return [(str(event["seq"]), event["status"]) for event in events]

    def post(self, **order: str) -> str:
        """Place an order from elsewhere."""
        answer = self.http.post("/api/orders/execute", json=order)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["orderId"])
