"""Orders rest, and the engine is killed or emptied under them: all fire when their price comes, each once."""

import asyncio
from functools import partial

import pytest

from tests.chaos.amid import amid
from tests.chaos.ledgers import nothing_lost_or_doubled, quoted
from tests.chaos.test_kills import kill
from tests.flows.test_waiting_orders import LIMIT
from tests.flows.tides import tide
from tests.load.burst import post_all
from tests.system import NO_DELAYS, eventually, system

pytestmark = pytest.mark.system


def test_redis_emptied_with_1000_orders_resting_loses_none(tmp_path):
    # Half a minute below the limit, in which all is placed and Redis is emptied, then above it.
    with system({**NO_DELAYS, **tide(tmp_path, ["150"] * 10 + ["160"] * 10, speed=30)}) as engine:
        quoted(engine)
        eventually(lambda: below(engine), 60, "the price is below the limit")
        asyncio.run(post_all(engine.url, 1_000, 32, LIMIT))
        engine.redis().flushall()
        nothing_lost_or_doubled(engine, 1_000)


def below(engine):
    best = engine.redis().hget("quotes:{SOL-USDC}:BEST", "price")
    return best is not None and float(best) < 155


def test_the_limit_worker_killed_again_and_again_while_orders_fire_loses_none(tmp_path):
    with system({**NO_DELAYS, **tide(tmp_path, ["150", "160"])}) as engine:
        quoted(engine)
        with amid(engine, *[partial(kill, engine, "limit")] * 4, apart_s=0.5):
            asyncio.run(post_all(engine.url, 2_000, 32, LIMIT))
        nothing_lost_or_doubled(engine, 2_000)
