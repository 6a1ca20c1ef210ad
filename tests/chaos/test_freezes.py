"""Order workers are frozen beyond their lease with claims in hand, and every client listens on a socket meanwhile."""

import asyncio
import os
import signal
import time
from functools import partial
from itertools import pairwise

import pytest

from orders.stores import live
from tests.bearer import API_KEY
from tests.chaos.amid import amid
from tests.chaos.checker import journal
from tests.chaos.checker.judge import judge
from tests.chaos.checker.measures import moment_of
from tests.chaos.clients.http import Http
from tests.chaos.clients.journal import Journal
from tests.chaos.clients.market import Market
from tests.chaos.clients.reading import read_all, resume_all
from tests.chaos.clients.trader import Trader
from tests.chaos.ledgers import nothing_lost_or_doubled, world_of
from tests.chaos.plan.orders import Planned
from tests.chaos.test_kills import BODY, QUICK
from tests.system import eventually, quoted, system

pytestmark = pytest.mark.system

ORDERS, PER_SECOND = 600, 50
LEASE_S, FROZEN_S = 3.0, 4.0
SETTINGS = {**QUICK, "ORDER_LEASE_MS": f"{LEASE_S * 1000:.0f}"}
IN_HAND = {"routing", "building"}


def test_workers_frozen_beyond_their_lease_settle_no_order_twice_and_every_socket_tells_its_whole_story(
    tmp_path, monkeypatch
):
    with system(SETTINGS, "--scale", "order=2") as engine:
        quoted(engine)
        monkeypatch.setenv(API_KEY, engine.api_key)
        with amid(engine, *(partial(freeze, engine, name) for name in ("order-1", "order-2")), apart_s=0.5):
            asyncio.run(trade(engine, tmp_path))
        nothing_lost_or_doubled(engine, ORDERS)
        world = world_of(engine)
        journal.read(tmp_path, world)
        assert judge(world).as_dict() == {}
        # Each has a socket that told it something, and one at least had to wait for a lease that ran out.
        assert len(world.stories) == ORDERS and all(world.stories.values())
        assert max(map(longest_wait, world.events.values())) >= LEASE_S


async def trade(engine, folder):
    """Place orders, each followed on a socket of its own that is dropped once; read all when they have ended."""
    clients = Journal(folder / journal.CLIENTS)
    http = Http(engine.url, clients)
    trader = Trader(http, clients, Market(http, clients), [], engine.ws)
    try:
        for number in range(ORDERS):
            body = {**BODY, "clientOrderId": f"frozen-{number}"}
            trader.start(trader.trade(Planned(number, 0.0, body, drops=(number % 4 + 1,))))
            await asyncio.sleep(1 / PER_SECOND)
        async with asyncio.timeout(60):
            while trader.tasks:
                await asyncio.gather(*trader.tasks)
        await resume_all(engine.ws, trader.stories.values())
        await read_all(http, trader.stories)
    finally:
        await http.close()
        clients.close()


def freeze(engine, name):
    """Freeze a worker that has claims in hand, until their leases are over and somewhat longer."""
    worker = engine.pids()[name]
    try:
        eventually(lambda: stopped_with_claims(engine, worker), 30, f"{name} is frozen with claims in hand")
        time.sleep(FROZEN_S)
    finally:
        os.kill(worker, signal.SIGCONT)


def stopped_with_claims(engine, worker):
    """Stop a worker; let it go on when no order stands still with it."""
    os.kill(worker, signal.SIGSTOP)
    before = in_hand(engine)
    if before:
        time.sleep(0.2)
        if before & in_hand(engine):
            return True
    os.kill(worker, signal.SIGCONT)
    return False


def in_hand(engine):
    """Return the orders that a worker has claimed, each with its fence."""
    redis = engine.redis()
    claims = {one: redis.hmget(live.key(one), "status", "fence") for one in redis.zrange(live.OPEN, 0, -1)}
    return {(one, fence) for one, (status, fence) in claims.items() if status in IN_HAND and fence}


def longest_wait(events):
    """Return the seconds between the two events of an order that are furthest apart."""
    return max(moment_of(two) - moment_of(one) for one, two in pairwise(events))
