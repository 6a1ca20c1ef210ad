"""Webhooks of the tests' account: made, given something to deliver, and delivered."""

import asyncio
import time

import pytest

from orders.operations import webhooks as delivering
from orders.stores import webhooks
from tests.orders.bench import OWNER


def hook(url, **more):
    return webhooks.make(OWNER, url, **{"all_accounts": False, "most": 10, **more})


def trade(bench, count=1):
    """Have orders filled and saved; return their ids."""
    ids = bench.place(count, slippage_bps=5_000)
    bench.run(ids)
    bench.archive()
    return ids


def take(limit=8):
    return webhooks.claim(limit, slow=False) + webhooks.claim(limit, slow=True)


def deliver_all(held):
    async def every():
        await asyncio.gather(*(delivering.deliver(one, time.monotonic()) for one in held))

    asyncio.run(every())


def deliver(rounds=50):
    """Deliver until there is nothing more, or nothing that is due."""
    for _ in range(rounds):
        if not (held := take()):
            return
        deliver_all(held)
    pytest.fail(f"still not done after {rounds} rounds")


def now(row):
    row.refresh_from_db()
    return row


STAGES = [1, 2, 3, 4, 5]
