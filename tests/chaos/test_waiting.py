"""Orders rest, and the engine is killed or emptied under them: all fire when their price comes, each once."""

import asyncio
from functools import partial

import httpx
import pytest

from tests.chaos.amid import amid
from tests.chaos.ledgers import nothing_lost_or_doubled
from tests.chaos.test_kills import kill
from tests.flows.test_waiting_orders import LIMIT
from tests.flows.tides import tide
from tests.load.burst import post_all
from tests.system import NO_DELAYS, eventually, quoted, system

pytestmark = pytest.mark.system


def test_redis_emptied_with_1000_orders_resting_loses_none(tmp_path):
    # Half a minute below the limit, in which all is placed and Redis is emptied, then above it.
    with system({**NO_DELAYS, **tide(tmp_path, ["150"] * 10 + ["160"] * 10, speed=30)}) as engine:
        quoted(engine)
        eventually(lambda: below(engine), 60, "the price is below the limit")
        asyncio.run(post_all(engine, 1_000, 32, LIMIT))
        engine.redis().flushall()
        nothing_lost_or_doubled(engine, 1_000)


def below(engine):
    best = engine.redis().hget("quotes:{SOL-USDC}:BEST", "price")
    return best is not None and float(best) < 155


def test_the_limit_worker_killed_again_and_again_while_orders_fire_loses_none(tmp_path):
    with system({**NO_DELAYS, **tide(tmp_path, ["150", "160"])}) as engine:
        quoted(engine)
        with amid(engine, *[partial(kill, engine, "limit")] * 4, apart_s=0.5):
            asyncio.run(post_all(engine, 2_000, 32, LIMIT))
        nothing_lost_or_doubled(engine, 2_000)


TRADED = ("JUP", "RAY", "BONK", "WIF")


def snipe(number):
    """Make an order that fires on the next trade of a token, and needs to know what the token is worth."""
    condition = {"kind": "volume", "atLeast": "1", "windowS": 5}
    order = {"type": "sniper", "tokenIn": "SOL", "tokenOut": TRADED[number % len(TRADED)], "amount": "0.5"}
    return order | {"trigger": condition, "slippageBps": 1_000}


def test_redis_emptied_again_and_again_under_sniper_orders_fails_none_of_them(tmp_path):
    with (
        system({**NO_DELAYS, **tide(tmp_path, ["150"])}) as engine,
        httpx.Client(base_url=engine.url, headers=engine.headers) as http,
    ):
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
