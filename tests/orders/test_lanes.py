"""How many requests Django serves at a time: a few of each kind, none in another's way, and none waits for long."""

import asyncio
import threading

import pytest
from django.db import connection

from config import asgi, settings
from orders.api import lanes as module
from orders.api.errors import RETRY_AFTER_S
from orders.api.health import Health, Ready
from orders.api.lanes import ALIVE, CHANGE, ESTIMATE, EXPORT, KINDS, PAGE, PLACE, PROBE, READ, kind_of
from orders.api.views import Orders
from orders.stores import threads
from tests.orders.doors import get, http, until
from tests.orders.test_access import KNOWN, OPEN

HOST = [(b"host", b"localhost")]


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/api/orders/execute", PLACE),
        ("POST", "/api/orders/batch", PLACE),
        ("POST", "/api/orders/estimate", ESTIMATE),
        ("GET", "/api/orders", READ),
        ("HEAD", "/api/orders/x", READ),
        ("GET", "/api/quotes/SOL-USDC", READ),
        ("GET", "/api/candles/SOL-USDC", READ),
        ("PATCH", "/api/orders/x", CHANGE),
        ("DELETE", "/api/orders/x", CHANGE),
        ("GET", "/api/webhooks", READ),
        ("POST", "/api/webhooks", CHANGE),
        ("POST", "/api/webhooks/x/rotate", CHANGE),
        ("GET", "/api/balances", READ),
        ("POST", "/api/tickets", CHANGE),
        ("GET", "/api/asyncapi", PAGE),
        ("GET", "/healthz", ALIVE),
        ("GET", "/readyz", PROBE),
        ("GET", "/metrics", PROBE),
        ("GET", "/admin/", PAGE),
        ("GET", "/api/schema", PAGE),
        ("GET", "/api/orders?format=csv", EXPORT),
        ("GET", "/api/orders?type=limit&form%61t=%63sv", EXPORT),
        ("DELETE", "/api/orders?format=csv", CHANGE),
    ],
)
def test_every_request_has_its_lane(method, path, kind):
    assert kind_of(asked(method, path)) is kind


def test_no_address_of_the_api_is_forgotten():
    """Whoever may ask: what is not a description waits in none of the pages' lanes, whichever methods it has."""
    found = {}
    for address, view in KNOWN.items():
        methods = [
            name.upper() for name in ("get", "post", "patch", "delete") if hasattr(getattr(view, "cls", view), name)
        ]
        found |= {(method, address): kind_of(asked(method, f"/{address}")) for method in methods}
    api = {(method, address): kind for (method, address), kind in found.items() if address not in OPEN}
    assert len(api) > 20 and not {PAGE, PROBE, ALIVE} & set(api.values())
    assert {kind for (method, _), kind in api.items() if method == "GET"} == {READ}
    assert {kind for (method, _), kind in api.items() if method != "GET"} == {PLACE, CHANGE, ESTIMATE}


@pytest.mark.parametrize(
    ("accept", "kind"), [(b"*/*", READ), (b"text/plain", READ), (b"text/csv", EXPORT), (b"Text/*", EXPORT)]
)
def test_a_list_that_may_be_csv_has_a_lane_of_its_own(accept, kind):
    assert kind_of(asked("GET", "/api/orders", [(b"accept", b"application/xml"), (b"accept", accept)])) is kind


def asked(method, address, headers=()):
    path, _, query = address.partition("?")
    return {"method": method, "path": path, "query_string": query.encode(), "headers": headers}


def test_every_thread_that_uses_the_database_has_a_connection():
    assert sum(kind.connections for kind in KINDS) + threads.THREADS == settings.POOL_SIZES["api"]


class Held:
    """A view that counts who is in it and lets nobody out before it is told."""

    def __init__(self, real):
        self.inside = self.most = 0
        self.lock, self.go, self.real = threading.Lock(), threading.Event(), real

    def method(self):
        """Return what takes the place of the view's method."""

        def get(view, request):
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            assert self.go.wait(30)
            with self.lock:
                self.inside -= 1
            return self.real(view, request)

        return get


@pytest.fixture
def held(bench, monkeypatch):
    """Hold reads back."""
    found = Held(Orders.get)
    monkeypatch.setattr(Orders, "get", found.method())
    yield found
    found.go.set()


def refusal(answer):
    code = answer.json()["error"]["code"]
    assert answer.headers["retry-after"] == str(RETRY_AFTER_S[code])
    return answer.status_code, code


async def test_no_more_are_served_at_once_than_there_are_threads(held):
    reads = [asyncio.create_task(get("/api/orders")) for _ in range(READ.threads * 3)]
    await until(lambda: held.inside == READ.threads, "every thread is busy")
    held.go.set()
    assert [(await read).status_code for read in reads] == [200] * len(reads)
    assert held.most == READ.threads


async def test_a_read_that_finds_no_thread_in_time_is_told_to_come_back(held, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 0.1)
    busy = [asyncio.create_task(get("/api/orders")) for _ in range(READ.threads)]
    await until(lambda: held.inside == READ.threads, "every thread is busy")
    assert refusal(await get("/api/orders")) == (503, "overloaded")
    # Others have lanes of their own.
    assert (await get("/healthz")).status_code == 200
    held.go.set()
    assert [(await read).status_code for read in busy] == [200] * READ.threads
    assert (await get("/api/orders")).status_code == 200


async def test_a_read_that_takes_too_long_is_answered_and_its_thread_comes_back(held, monkeypatch):
    monkeypatch.setattr(module.Lanes, "serve_within", at_once(module.Lanes.serve_within))
    assert refusal(await get("/api/orders")) == (503, "store_unreachable")
    lane = module.lanes()
    assert len(lane.overdue) == 1 and len(lane.lanes[READ].free) == READ.threads - 1
    held.go.set()
    await until(lambda: len(lane.lanes[READ].free) == READ.threads and not lane.overdue, "the thread is free again")


async def test_an_answer_that_is_not_read_keeps_no_thread(bench):
    gone = asyncio.Event()
    lane = module.lanes().lanes[READ]

    async def unread(message):
        await gone.wait()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/pairs",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    reading = [asyncio.create_task(asgi.application(dict(scope), nothing_more(), unread)) for _ in range(READ.threads)]
    try:
        assert (await get("/api/pairs")).status_code == 200
        await until(lambda: len(lane.free) == READ.threads, "every thread is free")
        assert not any(one.done() for one in reading)
    finally:
        gone.set()
        await asyncio.gather(*reading)


def nothing_more():
    """Make a `receive` that ends the request and then waits."""
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        return await asyncio.Event().wait()

    return receive


def at_once(real):
    """Have a read's time be up at once."""
    return lambda self, _, *rest: real(self, 0.1, *rest)


async def test_probes_that_hang_do_not_keep_the_process_from_saying_that_it_lives(bench, monkeypatch):
    hung = Held(Ready.get)
    monkeypatch.setattr(Ready, "get", hung.method())
    probes = [asyncio.create_task(get("/readyz")) for _ in range(PROBE.threads)]
    await until(lambda: hung.inside == PROBE.threads, "every thread for probes hangs")
    try:
        assert (await get("/healthz")).status_code == 200
    finally:
        hung.go.set()
        await asyncio.gather(*probes)


async def test_a_request_runs_on_one_of_the_lanes_threads_and_keeps_no_connection(bench, monkeypatch):
    seen = []

    def note(view, request):
        connection.ensure_connection()
        seen.append((threading.current_thread().name, connection.connection))
        return real(view, request)

    real = Health.get
    monkeypatch.setattr(Health, "get", note)
    async with http() as client:
        for _ in range(5):
            assert (await client.get("/healthz")).status_code == 200
    assert {name.rsplit("_", 1)[0] for name, _ in seen} == {"alive-0"}
    # Back in the pool, where a connection belongs to nobody.
    assert all(raw._pool is None for _, raw in seen)


async def test_a_defect_in_what_lanes_serve_is_not_swallowed(bench, monkeypatch):
    async def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(asgi, "django", module.in_lanes(broken))
    with pytest.raises(ZeroDivisionError):
        await get("/api/pairs")
