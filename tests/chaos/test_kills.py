"""Parts of the engine are killed while orders move; no order is lost and none settles twice."""

import asyncio
import threading
import time

import httpx
import pytest

from tests.chaos.ledgers import nothing_lost_or_doubled, quoted
from tests.load.burst import post_all
from tests.system import NO_DELAYS, System, eventually, system

pytestmark = pytest.mark.system

QUICK = {**NO_DELAYS, "MOCK_CONFIRM_DELAY_MS": "100-600", "CONFIRM_RESEND_MS": "500"}
BODY = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}


def test_the_order_worker_killed_amid_500_orders_loses_none_and_settles_none_twice():
    with system(QUICK) as engine:
        quoted(engine)
        killed = threading.Timer(0.4, engine.kill, ["order"])
        killed.start()
        asyncio.run(post_all(engine.url, 500, 32))
        killed.join()
        nothing_lost_or_doubled(engine, 500)


def test_redis_emptied_under_load_loses_no_order_and_settles_none_twice():
    with system(QUICK) as engine:
        quoted(engine)
        done = threading.Event()

        def flush() -> None:
            # Three times, spread over the burst, at moments nobody chose.
            for _ in range(3):
                done.wait(0.25)
                engine.redis().flushall()

        flusher = threading.Thread(target=flush)
        flusher.start()
        asyncio.run(post_all(engine.url, 500, 32))
        flusher.join()
        nothing_lost_or_doubled(engine, 500)


@pytest.mark.parametrize("victim", ["valkey", "postgres"])
def test_a_store_killed_under_load_loses_no_accepted_order(victim):
    with system(QUICK) as engine:
        quoted(engine)
        killed = threading.Timer(0.4, engine.kill, [victim])
        killed.start()
        accepted = post_through_an_outage(engine, 300)
        killed.join()
        eventually(lambda: is_up(engine), 30, "the engine answers again")
        with engine.postgres() as db:
            known = {str(row[0]) for row in db.execute("SELECT id FROM orders_order").fetchall()}
        assert accepted <= known
        nothing_lost_or_doubled(engine, len(known))


def is_up(engine: System) -> bool:
    try:
        return httpx.get(f"{engine.url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def post_through_an_outage(engine: System, count: int) -> set[str]:
    """Post one order after the other, whatever happens; return those that were acknowledged."""
    accepted: set[str] = set()
    with httpx.Client(timeout=15) as client:
        for _ in range(count):
            try:
                answer = client.post(f"{engine.url}/api/orders/execute", json=BODY)
            except httpx.HTTPError:
                continue
            # Whatever is down, a client hears 202 or a named 503, never another failure.
            assert answer.status_code in (202, 503), answer.text
            if answer.status_code == 202:
                accepted.add(answer.json()["orderId"])
    return accepted


def test_every_process_killed_in_turn_under_load_loses_nothing():
    with system(QUICK) as engine:
        quoted(engine)
        stop = threading.Event()

        def killing() -> None:
            for name in ("dbsync", "order", "stream", "beat", "dlq", "order"):
                engine.kill(name)
                if stop.wait(0.6):
                    return

        killer = threading.Thread(target=killing)
        killer.start()
        begun = time.monotonic()
        asyncio.run(post_all(engine.url, 600, 16))
        assert time.monotonic() - begun < 60
        killer.join()
        nothing_lost_or_doubled(engine, 600)
