"""What the admin and `GET /api/orders` take with a million orders in Postgres: every list, filter, search and page.

.venv/bin/python -m tests.load.million --orders 1000000

Starts an engine of its own and fills its Postgres (a few minutes).  Filters are those that each list offers.  Each
address is asked for three times after a first one; the figure is the slowest of the three.  Ends with 1 when one of
them took longer than 300 ms.
"""

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from itertools import product
from pathlib import Path
from typing import Any

import httpx

from engine.lifecycle import Status
from tests.load import history
from tests.system import System, eventually, system

LIMIT_MS = 300.0
REPEATS = 3
CALM = {"MOCK_QUOTE_DELAY_MS": "0", "MOCK_LAUNCH_EVERY_S": "0"}

LISTS = (
    *("orders/order", "orders/attempt", "orders/deadletter", "orders/pause", "orders/guard", "orders/setaside"),
    *("routing/pair", "routing/token", "routing/ledgerentry"),
    *("orders/act", "django_celery_beat/periodictask", "auth/user"),
)
"""Every list of the admin that can grow, and those that are in the side bar beside them."""
PAIRS = ("SOL-USDC", "USDT-USDC")
"""A pair with many orders, and one with none; they stand for the others where filters are combined."""


@dataclass(frozen=True)
class Asked:
    """One address and what it took, in milliseconds."""

    group: str
    address: str
    first: float
    took: tuple[float, ...]

    @property
    def worst(self) -> float:
        """Return the slowest of the repeats."""
        return max(self.took)


class Visitor:
    """An operator with a browser, or a client of the API."""

    def __init__(self, engine: System) -> None:
        self.http = httpx.Client(base_url=engine.url, headers=engine.headers, follow_redirects=True, timeout=60)
        self.asked: list[Asked] = []

    def log_in(self, password: str) -> None:
        """Enter the admin."""
        self.http.get("/admin/login/")
        form = {"username": "admin", "password": password, "csrfmiddlewaretoken": self.http.cookies["engine_csrf"]}
        answer = self.http.post("/admin/login/", data=form, headers={"referer": str(self.http.base_url)})
        assert answer.url.path == "/admin/", f"not logged in: {answer.url}"

    def ask(self, group: str, address: str) -> str:
        """Time one address; return the page."""
        times = []
        for _ in range(1 + REPEATS):
            begun = time.perf_counter()
            answer = self.http.get(address)
            times.append((time.perf_counter() - begun) * 1000)
            assert answer.status_code == 200, f"{address}: {answer.status_code} {answer.text[:300]}"
        self.asked.append(Asked(group, address, times[0], tuple(times[1:])))
        if max(times[1:]) > LIMIT_MS:
            print(f"slow: {max(times[1:]):.0f} ms {address}", file=sys.stderr)
        return answer.text


def walk(visitor: Visitor, postgres: Any) -> None:
    """Ask for everything there is to see."""
    for address in ("/admin/", "/admin/figures/"):
        visitor.ask("dashboard", address)
    for one in LISTS:
        walk_list(visitor, f"/admin/{one}/")
    for address in searches(postgres):
        visitor.ask("admin searches", address)
    for address in ("orders/order/?p=200", "orders/attempt/?p=200", "orders/deadletter/?p=200"):
        visitor.ask("admin lists", f"/admin/{address}")
    for address in api(visitor.http, postgres):
        visitor.ask("GET /api/orders", address)


def walk_list(visitor: Visitor, address: str) -> None:
    """Ask for a list, with each of the filters it offers and any two of them, and for the page of its first row."""
    page = visitor.ask("admin lists", address)
    filters = sorted({unescape(one) for one in re.findall(r'href="(\?[^"]+=[^"]*)"', page)})
    for one in filters:
        visitor.ask("admin filters", address + one)
    few = [one for one in filters if not one.startswith("?pair=") or one[6:] in PAIRS]
    for one, other in product(few, few):
        if one < other and one.split("=")[0] != other.split("=")[0]:
            visitor.ask("admin filters, two at once", f"{address}{one}&{other[1:]}")
    if row := re.search(rf'href="({re.escape(address)}[^"/]+/change/)', page):
        visitor.ask("admin pages", row[1])


def searches(postgres: Any) -> Iterator[str]:
    """Name what operators search for: ids, client ids, signatures, tokens; those there are and those there are not."""
    first, other, signature = rows(
        postgres,
        "SELECT id::text FROM orders_order ORDER BY id LIMIT 1",
        "SELECT id::text FROM (SELECT id FROM orders_order ORDER BY id LIMIT 1000) known ORDER BY id DESC LIMIT 1",
        "SELECT signature FROM orders_attempt LIMIT 1",
    )
    ids = (first, other, first[:8], first[:4], "0", "bot-500", "bot-", signature, signature[:6], "5", "SOL", "USDC")
    names = (*ids, "SOL-USDC", "USDT-USDC", "So11111111111111111111111111111111111111112", "nobody", "%", "'")
    for one, text in product(("order", "attempt", "deadletter"), names):
        yield f"/admin/orders/{one}/?{httpx.QueryParams(q=text)}"


def api(http: httpx.Client, postgres: Any) -> Iterator[str]:
    """Name the lists a client may ask for: each filter, any two and all of them, near and far in time and pages."""
    oldest, middle, newest = rows(
        postgres,
        "SELECT min(created_at)::text FROM orders_order",
        "SELECT (min(created_at) + (max(created_at) - min(created_at)) / 2)::text FROM orders_order",
        "SELECT max(created_at)::text FROM orders_order",
    )
    moments = [str(moment).replace(" ", "T").replace("+00", "Z") for moment in (oldest, middle, newest)]
    types, pairs = (None, "market", "limit", "sniper"), (None, *PAIRS)
    spans: list[dict[str, str]] = [{}]
    spans += [{name: moment} for name in ("createdAfter", "createdBefore") for moment in moments]
    spans += [{"createdAfter": moments[0], "createdBefore": moments[1]}]
    for kind, pair, status, span in product(types, pairs, (None, *Status), spans):
        given = {"type": kind, "pair": pair, "status": status, **span}
        yield f"/api/orders?{httpx.QueryParams({name: value for name, value in given.items() if value})}"
    several = httpx.QueryParams([("status", "expired"), ("status", "failed"), ("type", "sniper")])
    yield f"/api/orders?{several}"
    yield from ("/api/orders?limit=200", *pages(http))


def pages(http: httpx.Client) -> Iterator[str]:
    """Follow `next` from the newest orders, ten times if there are so many."""
    address = "/api/orders?limit=200"
    for _ in range(10):
        address = http.get(address).json()["next"]
        if address is None:
            return
        yield address.removeprefix(str(http.base_url).rstrip("/"))


def rows(postgres: Any, *statements: str) -> list[str]:
    """Return one text of each statement."""
    return [str(postgres.execute(statement).fetchone()[0]) for statement in statements]


def figures(asked: list[Asked]) -> dict[str, Any]:
    """Summarise by group."""
    groups = {one.group: [two for two in asked if two.group == one.group] for one in asked}
    return {
        group: {
            "addresses": len(ones),
            "median, ms": round(statistics.median(t for one in ones for t in one.took), 1),
            "slowest, ms": round(max(one.worst for one in ones), 1),
            "slowest is": max(ones, key=lambda one: one.worst).address,
            "slowest first time, ms": round(max(one.first for one in ones), 1),
        }
        for group, ones in groups.items()
    }


def main() -> None:
    """Parse, fill, ask, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=1_000_000)
    options.add_argument("--limit-ms", type=float, default=LIMIT_MS)
    chosen = options.parse_args()
    with system(CALM) as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        visitor = Visitor(engine)
        with engine.postgres() as postgres:
            written = history.write(postgres, chosen.orders)
            visitor.log_in((Path(engine.data_dir) / "admin-password").read_text().strip())
            walk(visitor, postgres)
    print(json.dumps({"rows": written, **figures(visitor.asked)}, indent=2))
    slow = [one for one in visitor.asked if one.worst > chosen.limit_ms]
    for one in slow:
        print(f"over {chosen.limit_ms:.0f} ms: {one.worst:.0f} ms {one.address}", file=sys.stderr)
    sys.exit(bool(slow))


if __name__ == "__main__":
    main()
