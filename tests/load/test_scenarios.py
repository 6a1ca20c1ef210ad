"""The load scenarios as a user runs them: a right engine passes each, one that misbehaves fails, with the reason."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from aiohttp import web
from websockets.sync.client import connect

from config.env import ROOT
from tests.bearer import API_KEY
from tests.load.scenarios.story import Story
from tests.load.scenarios.truth import disagreements
from tests.system import NO_DELAYS, free_port, quoted, system

pytestmark = pytest.mark.system

TEN_ORDERS = ("--orders-per-minute", "150", "--seconds", "4", "--sockets", "20")
SCENARIOS = ROOT / "tests" / "load" / "scenarios"
ENOUGH_S = 120
"""Far more than ten orders take on any machine; the scenarios judge times, these tests do not."""
ANY_TIME = ("--post-p95-ms", "60000", "--final-p95-ms", "60000", "--lag-p95-ms", "60000", "--throughput-share", "0.01")


@pytest.fixture(scope="module")
def engine():
    with system(NO_DELAYS | {"MOCK_LAUNCH_EVERY_S": "0"}) as engine:
        quoted(engine)
        # Of a market that has just begun nobody knows yet what its pools are worth.
        for token in ("JUP", "RAY", "BONK", "WIF"):
            told = engine.manage("sandbox", "liquidity", token, "5000000")
            assert told.returncode == 0, told.stderr
        yield engine


def run(scenario, url, folder, *options, api_key="", database_url=None):
    """Run a scenario; return its exit code, its figures and what it printed."""
    figures = folder / "figures.json"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LOCUST_", "LOAD_"))}
    environ[API_KEY] = api_key
    if database_url:
        environ["LOAD_DATABASE_URL"] = database_url
    command = [
        *(sys.executable, "-m", "locust", "-f", str(SCENARIOS / f"{scenario}.py"), "--headless", "--host", url),
        *("--figures", str(figures), "--html", str(folder / "report.html"), *TEN_ORDERS, *ANY_TIME, *options),
    ]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=ENOUGH_S, check=False)
    assert figures.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(figures.read_text()), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("scenario", "ends", "messages"),
    [
        ("market", {"confirmed": 10}, 50),
        ("limit", {"confirmed": 7, "cancelled": 2, "expired": 1}, 7 * 6 + 3 * 2 + 1),
        # Without a command that launches a token, the order that waits for one is cancelled.
        ("sniper", {"confirmed": 8, "cancelled": 2}, 8 * 6 + 2 * 2 + 1),
        # On its own socket and on twenty; two that lack nothing, and three that lack one, two and three messages.
        ("sockets", {"confirmed": 10}, 10 * (5 * 22 + 5 + 4 + 3 + 2 - 5)),
    ],
)
def test_a_right_engine_passes(engine, tmp_path, scenario, ends, messages):
    database_url = engine.running()["DATABASE_URL"]
    code, figures, printed = run(scenario, engine.url, tmp_path, api_key=engine.api_key, database_url=database_url)
    assert code == 0, printed
    assert "in Postgres\n" in printed and "PASSED" in printed
    assert (figures["accepted"], figures["lost"], figures["wrong"]) == (10, 0, 0)
    assert figures["ends"] == ends
    # An order whose price has gone is told more.
    assert figures["messages"] >= messages
    assert "charts" in (tmp_path / "report.html").read_text()


def test_a_threshold_that_is_exceeded_fails_the_run_and_is_named(engine, tmp_path):
    options = ("--final-p95-ms", "0.5", "--messages", "51")
    code, figures, printed = run("market", engine.url, tmp_path, *options, api_key=engine.api_key)
    assert code == 1
    assert "FAILED by accepted or fired to final, p95: " in printed
    assert "status messages received: 50, 1 below the 51 asked for" in printed
    assert len(figures["broken"]) == 2


def test_what_is_missing_in_postgres_is_found(engine, monkeypatch):
    monkeypatch.setenv(API_KEY, engine.api_key)
    asked = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "slippageBps": 5000}
    since, stories = datetime.now(UTC), []
    for _ in range(2):
        accepted = httpx.post(f"{engine.url}/api/orders/execute", json=asked, headers=engine.headers).json()
        story = Story(accepted["orderId"], asked)
        with connect(f"{engine.ws}/ws/{story.order_id}", additional_headers=engine.headers, proxy=None) as socket:
            for text in socket:
                story.hear(text, json.loads(text))
        stories.append(story)
    whole, maimed = stories
    database_url = engine.running()["DATABASE_URL"]
    assert disagreements(engine.url, database_url, stories, since, within_s=60) == []
    with engine.postgres() as db:
        db.execute("SET session_replication_role = replica")
        db.execute("DELETE FROM orders_orderevent WHERE order_id = %s AND seq = 3", [maimed.order_id])
        db.execute("UPDATE orders_attempt SET state = 'rejected' WHERE order_id = %s", [maimed.order_id])
    found = disagreements(engine.url, database_url, [*stories, nobody(whole)], since, within_s=0)
    assert len(found) == 4
    assert "orders told to be confirmed are not listed as such" in found[0]
    assert "have no row in Postgres" in found[1]
    assert maimed.order_id in found[2] and "Postgres has the events" in found[2]
    assert found[3] == f"order {maimed.order_id} is confirmed, Postgres has the attempts []"


def nobody(story):
    """Return a story of an order that the engine does not have."""
    return Story(str(uuid4()), story.asked, heard=story.heard)


def test_an_engine_that_leaves_out_a_stage_fails_the_run(tmp_path):
    with Forgetful() as engine:
        code, figures, printed = run("market", engine.url, tmp_path)
    assert code == 1
    assert figures["wrong"] == figures["lost"] == 10
    assert "building may not follow pending" in figures["what_was_wrong"][0]
    assert "FAILED by orders with which something was wrong: 100 %, 100 above the 0 % allowed" in printed
    assert "FAILED by orders accepted and never seen final: 10, 10 above the 0 allowed" in printed


class Forgetful:
    """A server that accepts every order and never tells of routing."""

    def __init__(self):
        self.port = free_port()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        app = web.Application()
        app.add_routes(
            [
                web.post("/api/orders/execute", self.accept),
                web.get("/api/orders", self.nothing),
                web.get("/ws/{order_id}", self.tell),
            ]
        )
        self.asked = {}
        self.runner = web.AppRunner(app)
        self.loop.run_until_complete(self.runner.setup())
        self.loop.run_until_complete(web.TCPSite(self.runner, "127.0.0.1", self.port).start())
        self.thread.start()
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()

    async def accept(self, request):
        order_id = str(uuid4())
        self.asked[order_id] = await request.json()
        return web.json_response({"orderId": order_id}, status=202)

    async def nothing(self, request):
        return web.json_response({"next": None, "previous": None, "results": []})

    async def tell(self, request):
        order_id = request.match_info["order_id"]
        asked = self.asked[order_id]
        pending = {
            "type": "market",
            "pair": f"{asked['tokenIn']}-{asked['tokenOut']}",
            "amountIn": asked["amount"],
            "slippageBps": asked["slippageBps"],
        }
        building = {"venue": "RAYDIUM", "expectedOut": "2", "minimumOut": "1", "quotedPrice": "1"}
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for seq, (status, facts) in enumerate((("pending", pending), ("building", building)), 1):
            event = {"orderId": order_id, "seq": seq, "status": status, "at": "2026-01-01T00:00:00Z", "attempt": 1}
            await socket.send_json(event | {"kind": status} | facts)
        await socket.close()
        return socket
