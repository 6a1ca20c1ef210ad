"""What must be true of every order after whatever was done to the engine."""

import httpx

from tests.system import System, eventually, is_settled


def quoted(engine: System) -> None:
    """Wait for the first quotes."""
    eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")


SETTLED_S = 180
"""An order that fires in vain again and again rests up to half a minute in between; a busy machine makes many do so."""


def nothing_lost_or_doubled(engine: System, count: int) -> None:
    """Every order is final, has gapless events up to its status, and at most one attempt landed."""
    try:
        eventually(is_settled(engine, count), SETTLED_S, f"{count} orders are final")
    except AssertionError as late:
        raise AssertionError(f"{late}; {unfinished(engine)}") from None
    with engine.postgres() as db:
        assert db.execute("SELECT count(*) FROM orders_order").fetchone() == (count,)
        doubled = db.execute(
            "SELECT order_id FROM orders_attempt WHERE state = 'landed' GROUP BY order_id HAVING count(*) > 1"
        ).fetchall()
        assert doubled == []
        landed = db.execute("SELECT count(*) FROM orders_attempt WHERE state = 'landed'").fetchone()
        confirmed = db.execute("SELECT count(*) FROM orders_order WHERE status = 'confirmed'").fetchone()
        assert landed == confirmed
    # What a DBSync had taken when it died comes to another only when it has lain for a while.
    eventually(lambda: not gaps(engine), SETTLED_S, "every event up to an order's status is in Postgres")


def gaps(engine: System) -> list[tuple[object, ...]]:
    """Return the orders that lack an event, with their seq and the events they have."""
    with engine.postgres() as db:
        return db.execute(
            "SELECT o.id, o.seq, array_agg(e.seq ORDER BY e.seq) FROM orders_order o"
            " LEFT JOIN orders_orderevent e ON e.order_id = o.id GROUP BY o.id, o.seq"
            " HAVING array_agg(e.seq ORDER BY e.seq) IS DISTINCT FROM array(SELECT generate_series(1, o.seq))"
        ).fetchall()


def unfinished(engine: System) -> str:
    """Say how orders stand that are not final, in Postgres and to clients, and how the queues and their workers do."""
    query = "SELECT status, count(*), min(id::text) FROM orders_order WHERE NOT status = ANY(%s) GROUP BY 1"
    with engine.postgres() as db:
        rows = db.execute(query, [["confirmed", "failed", "cancelled", "expired"]]).fetchall()
    shown = [asked(f"{engine.url}/api/orders/{order_id}") for _, _, order_id in rows]
    told = asked(f"{engine.url}/metrics?part=stores").splitlines()
    queues = [line for line in told if line.startswith(("engine_queue_depth", "engine_workers_alive", "engine_up"))]
    return f"in Postgres {rows}, one of each as clients see it {shown}, and {queues or told}"


def asked(url: str) -> str:
    """Return what an address answers, or why it does not: the host may be the one that was lost."""
    try:
        return httpx.get(url, timeout=30).text
    except httpx.HTTPError as reason:
        return repr(reason)
