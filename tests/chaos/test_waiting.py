"""Orders rest, and the engine is killed or emptied under them: all fire when their price comes, each once."""

import asyncio
import threading
from contextlib import suppress

import httpx
import pytest

from tests.chaos.ledgers import nothing_lost_or_doubled, quoted
from tests.flows.test_waiting_orders import LIMIT
from tests.flows.tides import tide
from tests.load.burst import post_all
from tests.system import NO_DELAYS, eventually, system

pytestmark = pytest.mark.system


def all_confirmed(engine, count):
    with engine.postgres() as db:
        assert db.execute("SELECT count(*) FROM orders_order WHERE status = 'confirmed'").fetchone() == (count,)


def test_redis_emptied_with_1000_orders_resting_loses_none(tmp_path):
    # Half a minute below the limit, in which all is placed and Redis is emptied, then above it.
    with system({**NO_DELAYS, **tide(tmp_path, ["150"] * 10 + ["160"] * 10, speed=30)}) as engine:
        quoted(engine)
        eventually(lambda: below(engine), 60, "the price is below the limit")
        asyncio.run(post_all(engine.url, 1_000, 32, LIMIT))
        engine.redis().flushall()
        nothing_lost_or_doubled(engine, 1_000)
        all_confirmed(engine, 1_000)


def below(engine):
    best = engine.redis().hget("quotes:{SOL-USDC}:BEST", "price")
    return best is not None and float(best) < 155


def test_the_limit_worker_killed_again_and_again_while_orders_fire_loses_none(tmp_path):
    with system({**NO_DELAYS, **tide(tmp_path, ["150", "160"])}) as engine:
        quoted(engine)
        over = threading.Event()

        def killing() -> None:
            while not over.wait(0.7):
                # It may not have been started again yet.
                with suppress(ProcessLookupError):
                    engine.kill("limit")

        killer = threading.Thread(target=killing)
        killer.start()
        try:
            asyncio.run(post_all(engine.url, 1_000, 32, LIMIT))
            eventually(lambda: engine.redis().zcard("limit_levels:{SOL-USDC}") == 0, 60, "every order has fired")
        finally:
            over.set()
            killer.join()
        nothing_lost_or_doubled(engine, 1_000)
        all_confirmed(engine, 1_000)


TRADED = ("JUP", "RAY", "BONK", "WIF")


def snipe(number):
    """Make an order that fires on the next trade of a token, for which a gate must know what the token is worth."""
    condition = {"kind": "volume", "atLeast": "1", "windowS": 5}
    order = {"type": "sniper", "tokenIn": "SOL", "tokenOut": TRADED[number % len(TRADED)], "amount": "0.5"}
    return order | {"trigger": condition, "slippageBps": 1_000}


def test_redis_emptied_again_and_again_under_sniper_orders_fails_none_of_them(tmp_path):
    with system({**NO_DELAYS, **tide(tmp_path, ["150"])}) as engine, httpx.Client(base_url=engine.url) as http:
        quoted(engine)
        for token in TRADED:
            assert engine.manage("sandbox", "liquidity", token, "5000000").returncode == 0
        placed = 0
        for _ in range(8):
            for _ in range(15):
                placed += http.post("/api/orders/execute", json=snipe(placed)).status_code == 202
            engine.redis().flushall()
        assert placed >= 100
        nothing_lost_or_doubled(engine, placed)
        all_confirmed(engine, placed)
