"""The desk when something goes wrong under it: nothing is missing, nothing there twice, and it says how it stands."""

import os
import signal
import time
from contextlib import contextmanager

import httpx
import pytest

from tests.browser.desk import CLOSED_LINE
from tests.browser.watched import WITHIN_S
from tests.system import eventually

pytestmark = pytest.mark.system

MARKET_LINE = [f"{stage} done" for stage in ("pending", "routing", "building", "submitted", "confirmed")]
WAITING_LINE = ["pending done", "triggered done", *MARKET_LINE[1:]]
SOL = {"tokenIn": "SOL", "tokenOut": "USDC"}


def rest(desk, count, price="158"):
    """Place limit orders that fire with the next tide."""
    return [desk.post(type="limit", **SOL, amount="1", limitPrice=price) for _ in range(count)]


def market(desk, count, **pair):
    """Place market orders in batches."""
    order = {"type": "market", **SOL, "amount": "1", **pair}
    ids = []
    for some in (min(100, count - done) for done in range(0, count, 100)):
        answer = desk.http.post("/api/orders/batch", json={"orders": [order] * some}).json()
        assert answer["accepted"] == some, answer
        ids += [one["order"]["orderId"] for one in answer["results"]]
    return ids


def is_whole(desk, ids):
    """Wait until these orders are confirmed; each must have shown exactly the events the API has, in one row."""
    desk.until(lambda: set(desk.ids("confirmed")) >= set(ids), "all are confirmed")
    told = {order_id: desk.told(order_id) for order_id in ids}
    seen, lines = desk.seen(), desk.lines()
    assert {one: seen.get(one) for one in ids} == {one: len(events) for one, events in told.items()}
    for order_id, events in told.items():
        waited = ("2", "triggered") in events
        assert lines[order_id] == (WAITING_LINE if waited else MARKET_LINE)
    for order_id in (ids[0], ids[-1]):
        assert desk.timeline(order_id) == told[order_id]
    assert len(desk.ids()) == len(set(desk.ids()))


def test_a_server_that_dies_while_orders_move_costs_nothing_but_time(desk):
    desk.expected = CLOSED_LINE
    ids = [*rest(desk, 10), *market(desk, 30)]
    desk.until(lambda: set(ids) <= set(desk.ids()), "all rows")
    desk.engine.kill("api")
    desk.page.wait_for_selector("#link[data-state=reconnecting]")
    # What is typed while the server is away is sent once it is back, once.
    desk.fill(amount="7.77")
    own = desk.place()
    desk.is_live()
    is_whole(desk, [*ids, own])
    placed = desk.http.get("/api/orders", params={"limit": 200}).json()["results"]
    assert [one["orderId"] for one in placed if one["amount"] == "7.77"] == [own]


def test_a_reload_in_mid_flight_loses_nothing(desk):
    ids = [*rest(desk, 5), *market(desk, 20)]
    desk.until(lambda: set(ids) <= set(desk.ids()), "all rows")
    desk.page.reload()
    desk.is_live()
    is_whole(desk, ids)


@contextmanager
def asleep(chromium):
    """Stop the processes that run pages, as a closed lid does."""
    running = chromium.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    renderers = [one["id"] for one in running if one["type"] == "renderer"]
    assert renderers
    for pid in renderers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in renderers:
            os.kill(pid, signal.SIGCONT)


def test_a_laptop_that_slept_while_its_line_died_catches_up(desk, chromium):
    desk.expected = CLOSED_LINE
    ids = rest(desk, 5)
    desk.until(lambda: set(ids) <= set(desk.ids()), "all rows")
    desk.page.evaluate(
        "{ let last = Date.now(); window.slept = 0; setInterval(() => {"
        " window.slept = Math.max(window.slept, Date.now() - last); last = Date.now(); }, 50); }"
    )
    with asleep(chromium):
        closed = time.monotonic()
        desk.engine.kill("api")
        ids += eventually(lambda: accepted(desk, 10), WITHIN_S, "the server is back")
        eventually(lambda: all(desk.told(one)[-1][1] == "confirmed" for one in ids), WITHIN_S, "all has happened")
        lid_closed_ms = (time.monotonic() - closed) * 1000
    desk.until(lambda: desk.page.evaluate("window.slept") >= lid_closed_ms, "it wakes, and really slept")
    desk.is_live()
    is_whole(desk, ids)


def accepted(desk, count):
    """Place market orders; return none while the server is away."""
    try:
        return market(desk, count)
    except httpx.TransportError:
        return []


def test_a_line_that_falls_silent_is_given_up_and_made_anew(desk):
    desk.expected = CLOSED_LINE
    server = desk.engine.pids()["api"]
    ids = rest(desk, 3)
    desk.until(lambda: set(ids) <= set(desk.ids()), "all rows")
    os.kill(server, signal.SIGSTOP)
    try:
        desk.page.wait_for_selector("#link[data-state=reconnecting]")
    finally:
        os.kill(server, signal.SIGCONT)
    desk.is_live()
    is_whole(desk, ids)


def test_old_prices_are_flagged_until_new_ones_come(desk):
    stream = desk.engine.pids()["stream"]
    os.kill(stream, signal.SIGSTOP)
    try:
        desk.until(lambda: desk.page.locator("#stale").is_visible(), "the flag")
        assert "Prices are" in desk.text("#stale")
    finally:
        os.kill(stream, signal.SIGCONT)
    desk.until(lambda: not desk.page.locator("#stale").is_visible(), "the flag goes")


def test_five_hundred_orders_that_move_at_once_are_each_shown_exactly(desk, record_property):
    desk.page.evaluate(
        "new PerformanceObserver((list) => { for (const entry of list.getEntries())"
        " window.longest = Math.max(window.longest || 0, entry.duration); }).observe({ type: 'longtask' })"
    )
    ids = market(desk, 500, tokenIn="USDC", tokenOut="RAY", amount="5")
    desk.until(lambda: set(desk.ids("confirmed")) >= set(ids), "all are confirmed")
    lines = desk.lines()
    assert {one: lines[one] for one in ids} == dict.fromkeys(ids, MARKET_LINE)
    seen = desk.seen()
    assert {one: seen.get(one) for one in ids} == dict.fromkeys(ids, 5)
    # A figure to look at: how long it is says as much of the machine as of the page.
    record_property("longest_task_ms", desk.page.evaluate("window.longest || 0"))


def test_an_order_that_moves_moves_nothing_about_it(desk):
    ids = rest(desk, 8, price="157")
    desk.until(lambda: set(ids) <= set(desk.ids()), "all rows")
    desk.until(lambda: all(desk.lines()[one] for one in ids), "all are painted")
    before = desk.page.evaluate("window.shifted.length")
    desk.until(lambda: set(desk.ids("confirmed")) >= set(ids), "all are confirmed")
    assert desk.page.evaluate("window.shifted")[before:] == []
