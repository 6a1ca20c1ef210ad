"""Limit and sniper orders through the whole engine, as separate processes."""

import asyncio
import json

import httpx
import pytest
from solders.keypair import Keypair
from websockets.sync.client import connect

from tests.chaos.ledgers import nothing_lost_or_doubled
from tests.flows.tides import tide
from tests.load.burst import post_all
from tests.system import NO_DELAYS, System, eventually, quoted, system

pytestmark = pytest.mark.system

LIMIT = {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "limitPrice": "155"}
LIFE = ["pending", "triggered", "routing", "building", "submitted", "confirmed"]


def test_2000_limit_orders_at_one_price_while_it_comes_and_goes_are_all_confirmed_once(tmp_path):
    # 2 s below the limit, 1 s above it, over and over: it crosses during the burst, and is gone again.
    with system({**NO_DELAYS, **tide(tmp_path, ["150", "150", "160"])}) as engine:
        quoted(engine)
        ids = asyncio.run(post_all(engine, 2_000, 64, LIMIT))
        nothing_lost_or_doubled(engine, 2_000)
        with engine.postgres() as db:
            row = db.execute(
                "SELECT count(*) FROM orders_order WHERE status = 'confirmed' AND id = ANY(%s::uuid[])", [ids]
            ).fetchone()
            assert row == (2_000,)
            low = db.execute(
                "SELECT count(*) FROM orders_orderevent WHERE status = 'confirmed'"
                " AND (facts->>'executedPrice')::numeric < 155"
            ).fetchone()
            assert low == (0,)


def streamed(engine: System, order_id: str) -> list[dict[str, object]]:
    """Return all events of an order from its socket."""
    with connect(f"{engine.ws}/ws/{order_id}", additional_headers=engine.headers, proxy=None) as socket:
        return [json.loads(message) for message in socket]


def test_what_waits_is_seen_changed_cancelled_expired_fired_and_sniped(tmp_path):
    with (
        system({**NO_DELAYS, **tide(tmp_path, ["150"])}) as engine,
        httpx.Client(base_url=engine.url, headers=engine.headers) as http,
    ):
        quoted(engine)

        def place(**order: object) -> str:
            answer = http.post("/api/orders/execute", json=order)
            assert answer.status_code == 202, answer.text
            return str(answer.json()["orderId"])

        resting = place(**LIMIT)
        doomed = place(**LIMIT)
        mint = str(Keypair().pubkey())
        sniper = place(type="sniper", tokenIn="SOL", tokenOut=mint, amount="0.5", trigger={"kind": "launch"})
        eventually(lambda: len(pending(http)) == 3, 20, "the archive knows what rests")
        by_id = {order["orderId"]: order for order in pending(http)}
        assert by_id[resting]["resting"]["best"] and float(by_id[resting]["resting"]["awayBps"]) > 300

        assert http.delete(f"/api/orders/{doomed}").json()["status"] == "cancelled"
        amended = http.patch(f"/api/orders/{resting}", json={"limitPrice": "149"}, headers={"If-Match": '"1"'})
        assert amended.status_code == 200, amended.text
        assert [event["status"] for event in streamed(engine, resting)] == ["pending", *LIFE]
        assert http.delete(f"/api/orders/{resting}").status_code == 409

        launched = engine.manage("sandbox", "launch", "--mint", mint, "--symbol", "NOVA", "--liquidity", "50000")
        assert launched.returncode == 0, launched.stderr
        events = streamed(engine, sniper)
        assert [event["status"] for event in events] == LIFE
        assert {gate["verdict"] for gate in events[1]["gates"]} == {"pass"}
        assert engine.manage("orders", "--status", "confirmed").stdout.count("confirmed") == 2


def pending(http: httpx.Client) -> list[dict[str, object]]:
    """Return the orders that rest, as the API lists them."""
    found: list[dict[str, object]] = http.get("/api/orders?status=pending").json()["results"]
    return found
