"""Parts of the engine are killed while orders move; every order is confirmed, and the chain has each of them once."""

import asyncio
import time
from contextlib import suppress
from functools import partial

import httpx
import pytest

from tests.chaos.amid import amid
from tests.chaos.ledgers import nothing_lost_or_doubled
from tests.load.burst import post_all
from tests.system import NO_DELAYS, System, eventually, quoted, system

pytestmark = pytest.mark.system

QUICK = {
    **NO_DELAYS,
    "MOCK_CONFIRM_DELAY_MS": "100-600",
    "CONFIRM_RESEND_MS": "500",
    # Prices that stand still: then no order has a reason of its own to fail.
    "MOCK_PRICE_VARIATION_PCT": "0",
}
OUTAGE_S = 90.0
"""How long a client tries to have its orders acknowledged while a store is started again."""
BODY = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}


@pytest.fixture(scope="module")
def engine():
    with system(QUICK) as running:
        quoted(running)
        yield running


@pytest.fixture
def before(engine) -> int:
    """Count the orders of the tests before, which have all ended."""
    with engine.postgres() as db:
        return db.execute("SELECT count(*) FROM orders_order").fetchone()[0]


def kill(engine: System, name: str) -> None:
    """Kill a process; it may not have been started again yet."""
    with suppress(ProcessLookupError):
        engine.kill(name)


def test_the_order_worker_killed_amid_500_orders_loses_none_and_settles_none_twice(engine, before):
    with amid(engine, partial(kill, engine, "order")):
        asyncio.run(post_all(engine, 500, 32))
    nothing_lost_or_doubled(engine, before + 500)


def test_redis_emptied_under_load_loses_no_order_and_settles_none_twice(engine, before):
    with amid(engine, *[lambda: engine.redis().flushall()] * 3, apart_s=0.25):
        asyncio.run(post_all(engine, 1_000, 16))
    nothing_lost_or_doubled(engine, before + 1_000)


@pytest.mark.parametrize("victim", ["valkey", "postgres"])
def test_a_store_killed_under_load_loses_no_accepted_order(engine, victim):
    with amid(engine, partial(kill, engine, victim)):
        accepted = post_through_an_outage(engine, 300)
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
    """Post one order after the other, whatever happens, until so many are acknowledged; return their ids."""
    accepted: set[str] = set()
    deadline = time.monotonic() + OUTAGE_S
    with httpx.Client(headers=engine.headers, timeout=15) as client:
        while len(accepted) < count:
            # A store that is away refuses at once: it may take any number of requests until it is back.
            assert time.monotonic() < deadline, f"{len(accepted)} orders acknowledged within {OUTAGE_S:g} s"
            try:
                answer = client.post(f"{engine.url}/api/orders/execute", json=BODY)
            except httpx.HTTPError:
                continue
            # Whatever is down, a client hears 202 or a named 503, never another failure.
            assert answer.status_code in (202, 503), answer.text
            if answer.status_code == 202:
                accepted.add(answer.json()["orderId"])
    return accepted


def test_every_process_killed_in_turn_under_load_loses_nothing(engine, before):
    victims = ("dbsync", "order", "stream", "beat", "dlq", "order")
    with amid(engine, *(partial(kill, engine, name) for name in victims), apart_s=0.5):
        asyncio.run(post_all(engine, 3_000, 16))
    nothing_lost_or_doubled(engine, before + 3_000)
