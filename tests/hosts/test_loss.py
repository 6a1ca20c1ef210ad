"""One host of two is lost while orders of every type move: killed, or cut off from all others.  Nothing else is."""

import asyncio

import pytest

from tests.chaos.ledgers import nothing_lost_or_doubled
from tests.hosts.cluster import ROLES
from tests.hosts.placing import MIX, TOO_LARGE, place
from tests.system import eventually

pytestmark = pytest.mark.system

ORDERS = 300
AFTER = 60
"""Accepted orders after which the host is lost: most are still to come, and those are on their way."""
BEAT_S = 60
REASONS = {"kill": "killed", "cut": "cut off"}


def victim(engine, role):
    """Return a host of the role: the active one, of two beats."""
    if role != "beat":
        return engine.hosts[role][0]
    (address,) = eventually(engine.beating, BEAT_S, "a beat is active")
    return next(host for host in engine.hosts["beat"] if host.address == address)


@pytest.mark.parametrize("loss", ["kill", "cut"])
@pytest.mark.parametrize("role", ROLES)
def test_a_lost_host_loses_no_order_and_settles_none_twice(engine, role, loss):
    lost = victim(engine, role)
    letters = dead_letters(engine)
    others = [url for url in engine.apis if lost.address not in url]
    try:
        ids = asyncio.run(place(engine.apis, ORDERS, AFTER, getattr(lost, loss)))
        engine.placed += ORDERS
        assert len(set(ids)) == ORDERS
        # All of them, without the one that is away.
        nothing_lost_or_doubled(engine, engine.placed)
        assert outcomes(engine, ids) == EXPECTED
        eventually(lambda: dead_letters(engine) == letters + FAILED, 60, "each failed order is kept as a dead letter")
        if role == "beat":
            eventually(lambda: taken_over(engine, lost), BEAT_S, "the other beat has taken over")
        assert others
    finally:
        lost.mend()
        engine.await_ready(role)
    # What the one that was cut off still had in hand changes nothing.
    nothing_lost_or_doubled(engine, engine.placed)
    assert outcomes(engine, ids) == EXPECTED


FAILED = sum(MIX[number % len(MIX)] is TOO_LARGE for number in range(ORDERS))
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
