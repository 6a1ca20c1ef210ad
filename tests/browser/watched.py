"""A page that is watched while it is used: what it complains of, asks of others, and moves about."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.system import System

CHROMIUM = "/usr/bin/chromium"
WITHIN_S = 90.0
"""How long anything may take on a machine that is busy with other tests; what works takes a fraction of it."""

# Runs before the page's own code.
WATCH = """
window.shift = 0; window.shifted = []; window.violations = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue;
    window.shift += entry.value;
    for (const { node } of entry.sources) window.shifted.push(node?.outerHTML?.slice(0, 80) || String(node?.nodeName));
  }
}).observe({ type: "layout-shift", buffered: true });
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


class Watched:
    """One page of one engine."""

    def __init__(self, page: Any, engine: System) -> None:
        self.page, self.engine = page, engine
        self.http = httpx.Client(base_url=engine.url, headers=engine.headers, trust_env=False, timeout=WITHIN_S)
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Parts of console messages that this test provokes."""
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.note(request.url))
        page.on("websocket", lambda socket: self.note(socket.url))
        page.add_init_script(WATCH)

    def note(self, url: str) -> None:
        """Remember what was asked of another server."""
        if not url.startswith((self.engine.url, self.engine.ws, "data:", "blob:")):
            self.elsewhere.append(url)

    def complaints(self) -> list[Any]:
        """Return what must not have happened."""
        errors = [text for text in self.errors if not any(part in text for part in self.expected)]
        return [*errors, *self.elsewhere, *self.page.evaluate("window.violations"), *self.broken()]

    def broken(self) -> list[Any]:
        """Return what else is wrong with this kind of page."""
        return []

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

    def width(self) -> int:
        """Return how wide the page is, also where it reaches out of sight."""
        found: int = self.page.evaluate("document.documentElement.scrollWidth")
        return found

    def close(self) -> None:
        """Let go of page and connection."""
        self.page.context.close()
        self.http.close()
