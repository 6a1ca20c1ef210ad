"""Three order workers, a host each: every one carries a like part of the orders."""

import asyncio

import pytest

from tests.chaos.ledgers import nothing_lost_or_doubled
from tests.hosts.placing import MARKET
from tests.load.burst import post_all

pytestmark = pytest.mark.system

ORDERS = 3_000
FURTHEST = 0.4
"""From a third: the cores of one machine are shared by everything, the load generator too."""


@pytest.fixture
def three(engine):
    """The order hosts, one more of them than of other roles."""
    third = engine.network.host("order3")
    engine.hosts["order"].append(third)
    engine.start_role("order", third)
    engine.await_ready("order")
    yield engine.hosts["order"]
    engine.hosts["order"].remove(third)
    third.kill()


def submitted(engine, hosts):
    """Return how many market orders each host brought to `submitted`."""
    return [engine.counted(host, "engine_orders_total", type="market", status="submitted") for host in hosts]


def test_three_order_workers_share_a_burst_evenly(engine, three):
    before = submitted(engine, three)
    asyncio.run(post_all(engine, ORDERS, 32, MARKET))
    engine.placed += ORDERS
    nothing_lost_or_doubled(engine, engine.placed, engine.failing)
    carried = [now - then for now, then in zip(submitted(engine, three), before, strict=True)]
    assert sum(carried) == ORDERS, carried
    assert all(abs(count * 3 / ORDERS - 1) < FURTHEST for count in carried), carried
