"""A store's host is cut off, as when its machine dies: nobody is told, and every client is answered all the same."""

import asyncio

import httpx
import pytest

from tests.chaos.ledgers import in_flight, nothing_lost_or_doubled
from tests.hosts.cluster import ROLES
from tests.hosts.placing import MARKET, failing, place
from tests.system import eventually

pytestmark = pytest.mark.system

ANSWERED_S = 20
MOVING_S = 60
ORDERS = 100


async def asked(engine):
    """Place three orders at each, all at once."""
    async with httpx.AsyncClient(headers=engine.headers, timeout=ANSWERED_S, trust_env=False) as client:
        return await asyncio.gather(*(client.post(f"{api}/api/orders/execute", json=MARKET) for api in engine.apis * 3))


def placed_and_moving(engine, ids):
    """Place orders, and tell whether some of them are still on their way."""
    ids += asyncio.run(place(engine, ORDERS, {}))
    engine.failing += failing(ORDERS)
    return in_flight(engine) > 0


@pytest.mark.parametrize("store", ["postgres", "valkey"])
def test_a_store_that_is_cut_off_is_told_to_clients_and_costs_no_order(engine, store):
    host = next(one for one in engine.network.hosts if one.name == store)
    # Connections that are open and idle are what the cut leaves behind.
    ids = []
    eventually(lambda: placed_and_moving(engine, ids), MOVING_S, "orders are on their way")
    host.cut()
    try:
        answers = asyncio.run(asked(engine))
        assert {answer.status_code for answer in answers} <= {202, 503}, [answer.text for answer in answers]
        assert store == "valkey" or {answer.status_code for answer in answers} == {503}
        ids += [answer.json()["orderId"] for answer in answers if answer.status_code == 202]
    finally:
        host.mend()
        for role in ROLES:
            engine.await_ready(role)
    ids += asyncio.run(place(engine, ORDERS, {}))
    # What was refused may have been committed all the same.
    with engine.postgres() as db:
        known = {str(row[0]) for row in db.execute("SELECT id FROM orders_order").fetchall()}
    assert set(ids) <= known
    engine.placed, engine.failing = len(known), engine.failing + failing(ORDERS)
    nothing_lost_or_doubled(engine, engine.placed, engine.failing)
    eventually(lambda: len(engine.beating()) == 1, 60, "one beat is active")
