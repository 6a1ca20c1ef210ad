"""Hosts are lost while orders of every type move: killed, or cut off from all others.  Nothing else is."""

import asyncio
import os
from functools import partial

import pytest

from tests.chaos.ledgers import in_flight, nothing_lost_or_doubled
from tests.hosts.cluster import ROLES
from tests.hosts.placing import failing, place
from tests.system import eventually

pytestmark = pytest.mark.system

EACH = pytest.mark.skipif(
    os.environ.get("TEST_LOSS") != "each", reason="each role by itself takes 7 minutes: TEST_LOSS=each loses them so"
)
LOSSES = [pytest.param(ROLES, id="one of each"), *(pytest.param((role,), id=role, marks=EACH) for role in ROLES)]
ORDERS = 300
AFTER = 60
"""Accepted orders after which the first host is lost: most are still to come, and those are on their way."""
APART = 20
"""Accepted orders from one loss to the next."""
MOVING_S = 60
BEAT_S = 60


def victim(engine, role):
    """Return a host of the role: the active one, of two beats."""
    if role != "beat":
        return engine.hosts[role][0]
    (address,) = eventually(engine.beating, BEAT_S, "a beat is active")
    return next(host for host in engine.hosts["beat"] if host.address == address)


@pytest.mark.parametrize("loss", ["kill", "cut"])
@pytest.mark.parametrize("roles", LOSSES)
def test_a_lost_host_loses_no_order_and_settles_none_twice(engine, roles, loss):
    lost = {role: victim(engine, role) for role in roles}
    letters = dead_letters(engine)
    losses = {AFTER + n * APART: partial(lose, engine, host, loss) for n, host in enumerate(lost.values())}
    try:
        ids = asyncio.run(place(engine, ORDERS, losses))
        engine.placed += ORDERS
        engine.failing += FAILED
        assert len(set(ids)) == ORDERS
        # All of them, without those that are away.
        assert not any(map(engine.answers, lost.values()))
        nothing_lost_or_doubled(engine, engine.placed, engine.failing)
        assert outcomes(engine, ids) == EXPECTED
        eventually(lambda: dead_letters(engine) == letters + FAILED, 60, "each failed order is kept as a dead letter")
        if "beat" in roles:
            eventually(lambda: taken_over(engine, lost["beat"]), BEAT_S, "the other beat has taken over")
        assert not any(map(engine.answers, lost.values()))
    finally:
        for host in lost.values():
            host.mend()
        for role in roles:
            engine.await_ready(role)
    # What those that were cut off still had in hand changes nothing.
    nothing_lost_or_doubled(engine, engine.placed, engine.failing)
    assert outcomes(engine, ids) == EXPECTED


def lose(engine, host, loss):
    """Kill a host, or cut it off, as soon as orders are on their way."""
    eventually(lambda: in_flight(engine) > 0, MOVING_S, "orders are on their way")
    getattr(host, loss)()


FAILED = failing(ORDERS)
EXPECTED = {"confirmed": ORDERS - FAILED, "failed": FAILED}


def outcomes(engine, ids):
    """Count these orders by how they ended."""
    with engine.postgres() as db:
        query = "SELECT status, count(*) FROM orders_order WHERE id = ANY(%s::uuid[]) GROUP BY 1"
        return dict(db.execute(query, [ids]).fetchall())


def dead_letters(engine):
    """Count what is kept of failed orders."""
    with engine.postgres() as db:
        return db.execute("SELECT count(*) FROM orders_deadletter").fetchone()[0]


def taken_over(engine, lost):
    """Tell whether one beat is active, and not the lost one."""
    active = engine.beating()
    return len(active) == 1 and active != [lost.address]
