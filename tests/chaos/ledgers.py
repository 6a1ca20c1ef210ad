"""What must be true of every order after whatever was done to the engine."""

from collections import Counter
from typing import Any

import httpx
from psycopg.rows import dict_row

from orders.stores import positions
from orders.stores.balances import DUE
from tests.chaos.checker import ends, executions, records, stories
from tests.chaos.checker.verdict import Verdict
from tests.chaos.checker.world import World
from tests.system import eventually, is_settled

SETTLED_S = 180
"""An order that fires in vain again and again rests up to half a minute in between; a busy machine makes many do so."""

IN_FLIGHT = """
SELECT (SELECT count(*) FROM orders_order WHERE status NOT IN ('failed', 'cancelled', 'expired'))
     - (SELECT count(*) FROM routing_ledgerentry WHERE landing = 'landed' AND lands_at <= now())
"""


def nothing_lost_or_doubled(engine: Any, count: int, failing: int = 0) -> None:
    """All orders are confirmed, but for so many that fail for their own sake, and the chain has each of them once.

    The checker judges, by the ledger's own record of who was executed.
    """
    try:
        eventually(is_settled(engine, count), SETTLED_S, f"{count} orders are final")
    except AssertionError as late:
        raise AssertionError(f"{late}; {unfinished(engine)}") from None
    # What a DBSync had taken when it died comes to another only when it has lain for a while.
    eventually(lambda: "rows_gap" not in judged(world_of(engine)).counts, SETTLED_S, "every event is in Postgres")
    world = world_of(engine)
    wrong = judged(world).as_dict()
    assert wrong == {}, wrong
    wanted = Counter(confirmed=count - failing, failed=failing)
    assert Counter(row.status for row in world.rows.values()) == wanted, fates(world)
    with engine.postgres() as db:
        differ = [one for one in db.execute(DUE).fetchall() if one[2:4] != one[4:6]]
        markets = [positions.difference(one) for one in db.execute(positions.DUE).fetchall()]
    assert differ == [], f"balances differ from the ledger (owner, token, total, reserved, each due): {differ}"
    assert not [one for one in markets if one.differs or one.due is None], f"positions differ: {markets}"
    landed = sum(one.landing == "landed" for one in world.executions)
    assert landed == count - failing, f"{landed} executions landed, of {count} orders"


def world_of(engine: Any) -> World:
    """Read what Postgres holds of orders, and what the chain executed."""
    world = World(calm_over=float("inf"))
    with engine.postgres() as db:
        db.row_factory = dict_row
        records.read_from(db, world)
    return world


def judged(world: World) -> Verdict:
    """Judge what can be judged without a client's journal."""
    verdict = Verdict()
    for check in (ends.check, executions.check, stories.readings):
        check(world, verdict)
    return verdict


def fates(world: World) -> Counter[str]:
    """Count how orders ended, and the codes of those that failed."""
    lasts = [events[-1] for events in world.events.values()]
    return Counter(f"{event['status']} {event.get('code', '')}" for event in lasts)


def in_flight(engine: Any) -> int:
    """Count orders that are accepted and that the chain has not executed."""
    with engine.postgres() as db:
        (count,) = db.execute(IN_FLIGHT).fetchone()
    return int(count)


def unfinished(engine: Any) -> str:
    """Say how orders stand that are not final, in Postgres and to clients, and how the queues and their workers do."""
    query = "SELECT status, count(*), min(id::text) FROM orders_order WHERE NOT status = ANY(%s) GROUP BY 1"
    with engine.postgres() as db:
        rows = db.execute(query, [["confirmed", "failed", "cancelled", "expired"]]).fetchall()
    shown = [asked(engine, f"/api/orders/{order_id}") for _, _, order_id in rows]
    told = asked(engine, "/metrics?part=stores").splitlines()
    queues = [line for line in told if line.startswith(("engine_queue_depth", "engine_workers_alive", "engine_up"))]
    return f"in Postgres {rows}, one of each as clients see it {shown}, and {queues or told}"


def asked(engine: Any, path: str) -> str:
    """Return what an address answers, or why it does not: the host may be the one that was lost."""
    try:
        return httpx.get(engine.url + path, headers=engine.headers, timeout=30).text
    except httpx.HTTPError as reason:
        return repr(reason)
