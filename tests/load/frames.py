"""The desk, open in Chromium while 500 of its orders move: the time between two frames, and what the page did in each.

.venv/bin/python -m tests.load.frames --orders 500 --seconds 20

Orders are placed as others end.  The sandbox chain refuses every other transaction, so many pass their stages more than
once.  Ends with 1 when p95 is above 25 ms, or fewer orders moved on the desk than were asked for.
"""

import argparse
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import httpx
from playwright.sync_api import CDPSession, Page, TimeoutError, sync_playwright

from tests.browser.watched import CHROMIUM
from tests.load.trigger import shares
from tests.system import System, quoted, system

SETTINGS = {
    "MOCK_QUOTE_DELAY_MS": "50-200",
    "MOCK_CONFIRM_DELAY_MS": "3000-8000",
    "MOCK_REJECT_RATE": "0.5",
    "MOCK_LAUNCH_EVERY_S": "0",
}
TARGET_MS = 25.0
WITHIN_S = 120.0
IN_FLIGHT = 1.4
"""Orders kept on their way, per order wanted on the desk: it lists those of others only every 3 s."""
EVERY_S = 0.2
BATCH_MAX = 100
ORDERS = (
    {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"},
    {"type": "market", "tokenIn": "USDC", "tokenOut": "SOL", "amount": "250"},
)
MOVING = ", ".join(
    f".order[data-status={status}]" for status in ("pending", "triggered", "routing", "building", "submitted")
)

# Runs before the page's own code.
COUNT_EVENTS = """
window.told = 0;
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => { if (data.includes('"orderId"')) window.told += 1; });
  }
};
"""
WATCH_FRAMES = """
([seconds, moving]) => new Promise((done) => {
  const [begun, told, frames, counts] = [performance.now(), window.told, [], []];
  let last = null;
  const step = (at) => {
    if (last !== null) frames.push(at - last);
    if (frames.length % 60 === 0) counts.push(document.querySelectorAll(moving).length);
    last = at;
    if (at - begun < seconds * 1000) requestAnimationFrame(step);
    else done({ frames, counts, told: window.told - told });
  };
  requestAnimationFrame(step);
})
"""
WORK = {"scripts": "ScriptDuration", "style": "RecalcStyleDuration", "layout": "LayoutDuration", "all": "TaskDuration"}
"""Chromium's names for what the page's main thread does."""


class Feed(threading.Thread):
    """Keeps so many orders on their way until it is stopped."""

    def __init__(self, engine: System, orders: int) -> None:
        super().__init__(daemon=True)
        self.engine, self.orders, self.placed = engine, orders, 0
        self.over = threading.Event()

    def run(self) -> None:
        """Place as many as have ended, again and again."""
        with httpx.Client(base_url=self.engine.url, headers=self.engine.headers, timeout=30) as api:
            while not self.over.wait(EVERY_S):
                wanted = self.orders - self.moving()
                for first in range(0, wanted, BATCH_MAX):
                    batch = [ORDERS[i % len(ORDERS)] for i in range(min(BATCH_MAX, wanted - first))]
                    answer = api.post("/api/orders/batch", json={"orders": batch}).raise_for_status().json()
                    self.placed += answer["accepted"]

    def moving(self) -> int:
        """Return how many of them are not final yet."""
        with self.engine.postgres() as db:
            row = db.execute("SELECT count(*) FROM orders_order WHERE status IN ('confirmed', 'failed')").fetchone()
        return self.placed - (row[0] if row else 0)


@contextmanager
def desk(engine: System) -> Iterator[Page]:
    """Open the desk as somebody who has logged in."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(WITHIN_S * 1000)
        page.context.add_cookies([engine.session])
        page.add_init_script(COUNT_EVENTS)
        page.goto(engine.url)
        page.wait_for_selector("#link[data-state=live]")
        try:
            yield page
        finally:
            browser.close()


def work(session: CDPSession) -> dict[str, float]:
    """Return the milliseconds that the main thread has worked so far."""
    found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return {what: found[name] * 1000 for what, name in WORK.items()}


def measure(page: Page, orders: int, seconds: float) -> dict[str, Any]:
    """Wait until so many orders move on the desk, then watch its frames."""
    enough = "([moving, orders]) => document.querySelectorAll(moving).length >= orders"
    try:
        page.wait_for_function(enough, arg=[MOVING, orders], polling=1_000)
    except TimeoutError:
        sys.exit(f"not within {WITHIN_S} s: {orders} orders that move on the desk; is the machine busy?")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    before = work(session)
    seen = page.evaluate(WATCH_FRAMES, [seconds, MOVING])
    after = work(session)
    took = sorted(seen["frames"])
    return {
        "orders that moved on the desk, median": int(median(seen["counts"])),
        "events that arrived": seen["told"],
        "frames": len(took),
        "between two frames, ms": shares(took),
        "main thread, ms per frame": {what: round((after[what] - before[what]) / len(took), 2) for what in WORK},
    }


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=500)
    options.add_argument("--seconds", type=float, default=20)
    chosen = options.parse_args()
    with system(SETTINGS) as engine:
        quoted(engine)
        feed = Feed(engine, int(chosen.orders * IN_FLIGHT))
        feed.start()
        try:
            with desk(engine) as page:
                found = measure(page, chosen.orders, chosen.seconds)
        finally:
            feed.over.set()
            feed.join()
    print(json.dumps(found, indent=2))
    smooth = found["between two frames, ms"]["p95"] <= TARGET_MS
    sys.exit(0 if smooth and found["orders that moved on the desk, median"] >= chosen.orders else 1)


if __name__ == "__main__":
    main()
