"""The kill switch on the whole engine, thrown while orders pour in."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.bearer import bearer
from tests.system import System, eventually, system

pytestmark = pytest.mark.system

SETTINGS = {
    "ENGINE_DISCONNECT_GRACE_S": "2",
    "MOCK_QUOTE_DELAY_MS": "0",
    "MOCK_CONFIRM_DELAY_MS": "2000-4000",
    "MOCK_BLOCKHASH_VALID_MS": "8000",
}
SOLD = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "0.1"}
BATCH = {
    "orders": [{"type": "market", **SOLD}] * 25
    + [{"type": "limit", "limitPrice": "1.00", **SOLD}] * 15
    + [{"type": "limit", "limitPrice": "9999.00", **SOLD}]
}
"""Market orders, limit orders that fire at once, and one that rests."""
WHY = "drill"
LANDED_S = 60.0
FROZEN_S = 7.0
"""Longer than a lease."""


@pytest.fixture
def engine() -> Iterator[System]:
    with system(SETTINGS) as running:
        eventually(lambda: running.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        yield running


@contextmanager
def flood(engine: System) -> Iterator[Counter[str]]:
    """Place batch after batch; count the answers by their error code, or `accepted`."""
    answers: Counter[str] = Counter()
    over = Event()

    def place() -> None:
        with httpx.Client(base_url=engine.url, headers=engine.headers, timeout=30) as http:
            while not over.is_set():
                answer = http.post("/api/orders/batch", json=BATCH).json()
                told = answer.get("results", [answer])
                answers.update(one["error"]["code"] if "error" in one else "accepted" for one in told)

    thread = Thread(target=place)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join(60)


def post(engine: System, door: str, body: Any) -> httpx.Response:
    return httpx.post(f"{engine.url}/api/orders/{door}", json=body, headers=engine.headers)


def one(engine: System, sql: str) -> int:
    with engine.postgres() as db:
        return int(db.execute(sql).fetchone()[0])


def all_of(engine: System, sql: str) -> Counter:
    with engine.postgres() as db:
        return Counter(db.execute(sql).fetchall())


def halt(engine: System) -> None:
    """Throw the switch, as its command does; return as its row is committed."""
    with engine.postgres() as db:
        db.execute(
            "INSERT INTO orders_pause (scope, name, state, reason, by) VALUES ('everything', '', 'halted', %s, 'ops')",
            [WHY],
        )


def known_to_the_chain(engine: System) -> Counter:
    return all_of(engine, "SELECT signature FROM routing_ledgerentry")


ON_CHAIN_OF = """
SELECT count(*) FROM orders_attempt t JOIN orders_order o ON o.id = t.order_id
JOIN routing_ledgerentry USING (signature) WHERE o.type = '{}'
"""
"""What the chain has, not what is committed as sent: a worker may freeze between the two."""
ON_ITS_WAY = """
SELECT count(*) FROM orders_attempt t LEFT JOIN routing_ledgerentry l USING (signature)
WHERE t.state = 'sent' AND l.signature IS NULL
"""
"""Committed as sent and not yet with the chain."""
SENDS = "SELECT signature, sends FROM orders_attempt WHERE state NOT IN ('prepared', 'withdrawn')"
OPEN = "SELECT count(*) FROM orders_attempt WHERE state IN ('prepared', 'sent')"
UNDER_WAY = """
SELECT count(*) FROM orders_order
WHERE status IN ('triggered', 'routing', 'building', 'submitted') OR (status = 'pending' AND type = 'market')
"""
RETURNED = "SELECT count(*) FROM orders_orderevent WHERE facts->'returned'->>'code' = 'halted'"
ENDS = """
SELECT o.type, o.status, coalesce(o.result->>'code', ''), count(t.id) FILTER (WHERE t.state = 'landed')
FROM orders_order o LEFT JOIN orders_attempt t ON t.order_id = o.id GROUP BY o.id
"""


def frozen_between_sends(engine: System) -> bool:
    """Freeze the order worker; let it go on, and return False, if bytes were just leaving it: no halt can reach those.

    One that is frozen between its commit and its send is in the crash matrix.
    """
    os.kill(engine.pids()["order"], signal.SIGSTOP)
    time.sleep(0.5)  # its statements are Postgres' by now
    if one(engine, ON_ITS_WAY):
        os.kill(engine.pids()["order"], signal.SIGCONT)
        return False
    return True


def is_still(engine: System) -> bool:
    return one(engine, UNDER_WAY) == 0 and one(engine, OPEN) == 0


@pytest.mark.parametrize("worse", ["", "worker killed and redis emptied", "worker frozen past its lease"])
def test_a_second_after_a_halt_nothing_new_is_sent_and_what_was_sent_is_followed_to_its_end(engine, worse):
    with flood(engine) as answers:
        eventually(lambda: min(one(engine, ON_CHAIN_OF.format(kind)) for kind in ("market", "limit")) > 50, 60, "sends")
        if "frozen" in worse:
            eventually(lambda: frozen_between_sends(engine), 60, "a moment at which no bytes are leaving")
            time.sleep(FROZEN_S)
        halt(engine)
        if "killed" in worse:
            engine.kill("order")
            engine.redis().flushall()
        time.sleep(1.0)
        sent, chain, open_then = all_of(engine, SENDS), known_to_the_chain(engine), one(engine, OPEN)
    if "frozen" in worse:
        os.kill(engine.pids()["order"], signal.SIGCONT)
    assert answers["accepted"] > 200
    # Behind a frozen worker so many wait that new ones are refused for that.
    refused = answers["paused"] + ("frozen" in worse) * answers["overloaded"]
    assert refused > 0, "orders poured in until they were refused"
    assert open_then > 0, "transactions were in flight"
    eventually(lambda: is_still(engine), LANDED_S, "everything sent is followed to its end")
    assert all_of(engine, SENDS) == sent
    assert known_to_the_chain(engine) == chain
    ends = all_of(engine, ENDS)
    assert set(ends) == {
        ("market", "confirmed", "", 1),
        ("market", "cancelled", "halted", 0),
        ("limit", "confirmed", "", 1),
        ("limit", "pending", "", 0),
    }, ends
    # An order that Redis had lost is put back to rest as it is restored, without an event.
    assert "emptied" in worse or one(engine, RETURNED) > 0, "orders that had fired rest again"
    landed = one(engine, "SELECT count(*) FROM routing_ledgerentry WHERE landing = 'landed'")
    assert sum(number for (*_, lands), number in ends.items() if lands) == landed
    resumed_and_traded_again(engine)


def resumed_and_traded_again(engine: System) -> None:
    """Lift the halt: the limit orders that had fired, and no market order, execute."""
    cancelled = all_of(engine, ENDS)[("market", "cancelled", "halted", 0)]
    done = engine.manage("resume", "everything")
    assert (done.returncode, done.stdout) == (0, "everything is resumed\n"), done.stderr
    rest = "SELECT count(*) FROM orders_order WHERE status = 'pending' AND limit_price < 9999"
    eventually(lambda: one(engine, rest) == 0 and is_still(engine), LANDED_S, "what had fired is filled")
    assert all_of(engine, ENDS)[("market", "cancelled", "halted", 0)] == cancelled
    assert (
        httpx.post(f"{engine.url}/api/orders/execute", json=BATCH["orders"][0], headers=engine.headers).status_code
        == 202
    )


def disconnected(engine: System) -> int:
    """Have a server die that has the only socket of a key that cancels on disconnect; return what that has placed."""
    made = engine.manage("apikeys", "create", "bot", "--owner", "admin", "--cancel-on-disconnect")
    header = bearer(made.stdout.strip())
    with connect(f"{engine.ws}/ws/quotes/SOL-USDC", additional_headers=header, proxy=None) as socket:
        socket.recv()
        eventually(lambda: engine.redis().keys("keys:connected:*"), 30, "the key counts as connected")
        answer = httpx.post(
            f"{engine.url}/api/orders/batch", json={"orders": [BATCH["orders"][-1]] * 3}, headers=header
        )
        assert {result["status"] for result in answer.json()["results"]} == {202}
        engine.kill("api")
    eventually(lambda: all_of(engine, ENDS)[("limit", "cancelled", "disconnected", 0)] == 3, 60, "they are cancelled")
    eventually(engine.is_ready, 60, "another server has taken its place")
    return 3


def test_the_command_halts_a_running_engine_and_cancels_what_rests_and_so_does_a_lost_connection(engine):
    lost = disconnected(engine)
    placed = httpx.post(
        f"{engine.url}/api/orders/batch", json={"orders": [BATCH["orders"][-1]] * 5}, headers=engine.headers
    ).json()
    assert {result["status"] for result in placed["results"]} == {202}
    done = engine.manage("halt", "SOL-USDC", "--reason", WHY, "--cancel-resting")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "5 resting orders cancelled"), done.stderr
    answer = post(engine, "execute", BATCH["orders"][0])
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, f"SOL-USDC is halted: {WHY}")
    told = json.loads(httpx.get(f"{engine.url}/api/orders?status=cancelled", headers=engine.headers).text)["results"]
    assert Counter(order["result"]["code"] for order in told) == {"halted": 5, "disconnected": lost}
