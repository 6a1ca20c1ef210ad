"""Venues fail and come back, on the whole engine."""

import json
from datetime import datetime

import httpx
import pytest
from websockets.sync.client import connect

from tests.system import NO_DELAYS, System, eventually, system

pytestmark = pytest.mark.system

SETTINGS = {**NO_DELAYS, "QUOTE_FRESH_MS": "600", "QUOTE_STALE_MS": "1200", "QUOTE_TIMEOUT_MS": "1000"} | {
    "ORDER_DEADLINE_S": "4"
}
BODY = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}


@pytest.fixture(scope="module")
def engine():
    with system(SETTINGS) as running:
        eventually(lambda: running.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        yield running


def venue(engine: System, name: str, state: str) -> None:
    done = engine.manage("sandbox", "venue", name, state)
    assert done.returncode == 0, done.stderr


def execute(engine: System) -> list[dict]:
    """Place an order and return all its events, as its socket told them."""
    order = httpx.post(f"{engine.url}/api/orders/execute", json=BODY, headers=engine.headers).json()
    with connect(f"{engine.ws}/ws/{order['orderId']}", additional_headers=engine.headers, open_timeout=10) as socket:
        return [json.loads(message) for message in socket]


def quoting(engine: System, within_ms: int = 600) -> set[str]:
    """Return the venues that have quoted lately."""
    quotes = httpx.get(f"{engine.url}/api/quotes/SOL-USDC", headers=engine.headers).json()["quotes"]
    return {quote["venue"] for quote in quotes if quote["ageMs"] < within_ms}


def test_the_other_venue_takes_all_orders_while_one_is_down(engine):
    venue(engine, "METEORA", "down")
    eventually(lambda: quoting(engine) == {"RAYDIUM"}, 20, "Meteora's quotes are stale")
    for _ in range(5):
        told = execute(engine)
        assert told[-1]["status"] == "confirmed"
        assert told[-1]["venue"] == "RAYDIUM"
    venue(engine, "METEORA", "up")
    eventually(lambda: quoting(engine) == {"RAYDIUM", "METEORA"}, 20, "both quote again")


def test_with_both_down_an_order_waits_until_its_deadline_and_a_replay_confirms_it_later(engine):
    venue(engine, "METEORA", "down")
    venue(engine, "RAYDIUM", "down")
    eventually(lambda: quoting(engine, 1200) == set(), 20, "all quotes are stale")
    told = execute(engine)
    assert {event["status"] for event in told[1:-1]} == {"routing"} and told[-1]["status"] == "failed"
    # However often it asked, it was one try.
    assert len(told) > 4 and {event["attempt"] for event in told[1:]} == {1}
    assert told[-1]["code"] == "no_quote" and told[-1]["replayMayHelp"] is True
    assert datetime.fromisoformat(told[-1]["at"]) >= datetime.fromisoformat(told[0]["deadline"])
    order_id = told[0]["orderId"]

    def archived() -> bool:
        with engine.postgres() as db:
            row = db.execute("SELECT status FROM orders_order WHERE id = %s", [order_id]).fetchone()
            letter = db.execute("SELECT verdict FROM orders_deadletter WHERE order_id = %s", [order_id]).fetchone()
        return row == ("failed",) and letter == ("safe",)

    eventually(archived, 15, "the failure is in Postgres, with its dead letter")

    venue(engine, "METEORA", "up")
    venue(engine, "RAYDIUM", "up")
    eventually(lambda: quoting(engine) == {"RAYDIUM", "METEORA"}, 20, "both quote again")
    done = engine.manage("replay", order_id, "--reason", "both quote again")
    assert done.returncode == 0, done.stderr
    with engine.postgres() as db:
        (again,) = db.execute("SELECT id FROM orders_order WHERE replay_of_id = %s", [order_id]).fetchone()
    with connect(f"{engine.ws}/ws/{again}", additional_headers=engine.headers, open_timeout=10) as socket:
        assert [json.loads(message)["status"] for message in socket][-1] == "confirmed"
    refused = engine.manage("replay", order_id, "--reason", "both quote again")
    assert str(again) in refused.stdout + refused.stderr, "a second replay names the first's order"
