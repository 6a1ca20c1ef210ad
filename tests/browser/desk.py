"""The desk as a person has it in front of them: what can be seen on it, and what can be done."""

from typing import Any

from tests.browser.watched import Watched
from tests.system import System

SLOW_ENOUGH = {"MOCK_CONFIRM_DELAY_MS": "200-600", "MOCK_FUNDS": "100000000"}
"""Orders take long enough to be seen moving, and one alone can sell all that there is."""
NOTHING = "\N{EN DASH}"
"""What stands for a figure that is not there."""
CLOSED_LINE = ("WebSocket connection", "Failed to load resource", "ERR_")
"""What the browser itself says when a server goes away."""

# Runs before the page's own code.  Every seq a row ever shows is kept: of a row that changes, and of one that arrives
# with its events already told, which is no change of it.
ROWS = """
window.seen = {}; window.backwards = [];
const shown = new WeakMap();
const noted = (row) => {
  const id = row.dataset?.order, seq = Number(row.dataset?.seq);
  if (!id || !seq) return;
  if (seq < (shown.get(row) || 0)) window.backwards.push([id, shown.get(row), seq]);
  shown.set(row, seq);
  window.seen[id] = seq;
};
new MutationObserver((changes) => {
  for (const { target, addedNodes } of changes) [target, ...addedNodes].forEach(noted);
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-seq"] });
"""

PIXELS = """
(name) => {
  const wanted = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(wanted.slice(at, at + 2), 16));
  let count = 0;
  for (const canvas of document.querySelectorAll("#chart canvas")) {
    if (!canvas.width || !canvas.height) continue;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4) if (data[i] === r && data[i + 1] === g && data[i + 2] === b) count += 1;
  }
  return count;
}
"""


class Desk(Watched):
    """One page."""

    def __init__(self, page: Any, engine: System) -> None:
        super().__init__(page, engine)
        page.context.add_cookies([engine.session])
        self.rewound: set[str] = set()
        """Orders of which the engine takes something back."""
        page.add_init_script(ROWS)

    def open(self) -> None:
        """Load the page and wait until both its lines stand."""
        self.page.goto(self.engine.url)
        self.is_live()

    def is_live(self) -> None:
        """Wait until the page says so."""
        self.page.wait_for_selector("#link[data-state=live]")
        self.until(lambda: self.text("#best") not in (NOTHING, ""), "a price")

    def broken(self) -> list[Any]:
        """Return orders that went backwards and must not."""
        return [one for one in self.page.evaluate("window.backwards") if one[0] not in self.rewound]

    def seen(self) -> dict[str, int]:
        """Return the seq at which each order was last seen."""
        found: dict[str, int] = self.page.evaluate("window.seen")
        return found

    def choose(self, kind: str) -> None:
        """Choose the type of order."""
        self.page.locator("fieldset.tabs label", has_text=kind.capitalize()).click()

    def side(self, side: str) -> None:
        """Choose to buy or to sell."""
        self.page.locator("fieldset.sides label", has_text=side).click()

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
        # It may have ended by now.
        self.until(
            lambda: self.text("#outcome").partition(":")[0] in ("Accepted", "Confirmed", "Failed"), "its outcome"
        )
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

    def find(self, order_id: str) -> Any:
        """Return an order's row, however far back in the list it is."""

        def found() -> bool:
            if not self.row(order_id).count() and self.page.locator("#older").is_visible():
                self.page.click("#older")
            return bool(self.row(order_id).count() and self.row(order_id).get_attribute("data-status") != "unknown")

        self.until(found, f"the row of {order_id}")
        return self.row(order_id)

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
        found = row.locator(".timeline li[data-seq]").evaluate_all(
            "all => all.map(one => [one.dataset.seq, one.dataset.status])"
        )
        return [(seq, status) for seq, status in found]

    def lines(self) -> dict[str, list[str]]:
        """Return each row's progress line, by order: what its segments say and their states, from left to right."""
        found: dict[str, list[str]] = self.page.eval_on_selector_all(
            "#rows .order",
            "all => Object.fromEntries(all.map(row => [row.dataset.order, [...row.querySelectorAll('.line li')]"
            ".map(one => `${one.querySelector('span').textContent} ${one.dataset.state}`)]))",
        )
        return found

    def pixels(self, colour: str) -> int:
        """Return how many pixels of the chart have exactly one of the page's colours."""
        found: int = self.page.evaluate(PIXELS, colour)
        return found

    def told(self, order_id: str) -> list[tuple[str, str]]:
        """Return the same as the API has it."""
        events = self.http.get(f"/api/orders/{order_id}/events").json()["events"]
        return [(str(event["seq"]), event["status"]) for event in events]

    def post(self, **order: str) -> str:
        """Place an order from elsewhere."""
        answer = self.http.post("/api/orders/execute", json=order)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["orderId"])
