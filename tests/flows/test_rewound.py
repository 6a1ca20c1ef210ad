"""Redis is emptied between an order's trigger and its end: every client is told what no longer counts, and the end."""

import asyncio
import os
import signal
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from orders.client import Client, Event, LimitOrder, Message, Rewound
from tests.browser.desk import SLOW_ENOUGH, Desk
from tests.flows.readme import block, browser
from tests.system import System, eventually, quoted, system

pytestmark = pytest.mark.system

WITHIN_S = 90.0
FIRES_AT_ONCE = "1"
"""A limit price that any quote reaches."""
EXAMPLE = block("javascript", "WebSocket").replace('type: "market"', f'type: "limit", limitPrice: "{FIRES_AT_ONCE}"')
START = """
window.shown = []; window.over = false;
console.log = (...words) => window.shown.push(words.join(" "));
void (async () => { %s })().catch((reason) => console.log(reason.message)).finally(() => { window.over = true; });
"""


@contextmanager
def frozen(engine: System, *names: str):
    """Stop processes for a while."""
    pids = [engine.pids()[name] for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class Follower(threading.Thread):
    """The Python client with an order of its own."""

    def __init__(self, engine: System) -> None:
        super().__init__(daemon=True)
        self.engine, self.heard = engine, list[Message]()

    def run(self) -> None:
        """Place it and follow it to its end."""
        asyncio.run(self.follow())

    async def follow(self) -> None:
        """Keep all that is told."""
        order = LimitOrder(token_in="SOL", token_out="USDC", amount=1, limit_price=FIRES_AT_ONCE)
        async with Client(self.engine.url, api_key=self.engine.api_key) as client:
            async for message in client.execute(order, within_s=WITHIN_S):
                self.heard.append(message)

    @property
    def held(self) -> list[Event]:
        """Return what counts."""
        events: list[Event] = []
        for message in self.heard:
            if isinstance(message, Rewound):
                del events[message.to :]
            else:
                events.append(message)
        return events


@dataclass
class Clients:
    """Three clients that have been through a loss of Redis, and the ids of the orders they followed."""

    python: Follower
    page: Any
    desk: Desk
    ids: dict[str, str]

    def told(self, client: str) -> list[dict[str, Any]]:
        """Return the events of a client's order as the API has them."""
        found: list[dict[str, Any]] = self.desk.http.get(f"/api/orders/{self.ids[client]}/events").json()["events"]
        return found


def ids_of(engine: System, follower: Follower) -> dict[str, str]:
    """Tell whose order is whose."""
    own = follower.heard[0].order_id
    listed = {one["orderId"] for one in httpx.get(f"{engine.url}/api/orders", headers=engine.headers).json()["results"]}
    (other,) = listed - {own}
    return {"python": own, "example": other}


@pytest.fixture(scope="module")
def clients():
    with system(SLOW_ENOUGH) as engine, browser() as chromium, ExitStack() as open_ends:
        quoted(engine)
        page = chromium.new_page(extra_http_headers=engine.headers)
        follower, desk = Follower(engine), Desk(chromium.new_page(), engine)
        open_ends.callback(desk.close)
        page.goto(f"{engine.url}/healthz")
        desk.open()
        # Nobody goes on from `triggered`, and nobody takes it to Postgres.
        with frozen(engine, "order", "dbsync"):
            follower.start()
            page.evaluate(START % EXAMPLE)
            eventually(lambda: len(follower.heard) == 2, WITHIN_S, "the Python client sees its order fire")
            desk.until(lambda: len(page.evaluate("window.shown")) == 2, "the example sees its order fire")
            ids = ids_of(engine, follower)
            desk.rewound |= set(ids.values())
            for one in ids.values():
                desk.page.wait_for_selector(f"[data-order='{one}'][data-status=triggered]")
            engine.redis().flushall()
        yield Clients(follower, page, desk, ids)


def test_the_python_client_is_told_what_is_withdrawn_and_then_the_end(clients):
    clients.python.join(WITHIN_S)
    assert [message.to for message in clients.python.heard if isinstance(message, Rewound)] == [1]
    assert clients.python.held[-1].status == "confirmed"
    assert [event.raw for event in clients.python.held] == clients.told("python")


def test_the_javascript_example_is_told_what_is_withdrawn_and_then_the_end(clients):
    clients.desk.until(lambda: clients.page.evaluate("window.over"), "the example ends")
    shown = clients.page.evaluate("window.shown")
    assert shown[2].startswith("back to 1 ")
    events = [line.split()[:2] for line in (shown[0], *shown[3:])]
    assert events == [[str(event["seq"]), event["status"]] for event in clients.told("example")]
    assert events[-1][1] == "confirmed"


@pytest.mark.parametrize("client", ["python", "example"])
def test_the_desk_shows_what_counts_and_says_why_it_went_back(clients, client):
    order_id, desk = clients.ids[client], clients.desk
    row = desk.ends(order_id, "confirmed")
    assert desk.timeline(order_id) == desk.told(order_id)
    assert all(state == "done" for _, state in desk.stages(order_id))
    assert "The engine lost part of this order's history" in row.locator(".timeline li.back").inner_text()
    assert desk.complaints() == []
