"""What must be true of every order after whatever was done to the engine."""

from tests.system import System, eventually, is_settled


def quoted(engine: System) -> None:
    """Wait for the first quotes."""
    eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")


SETTLED_S = 180
"""An order that fires in vain again and again rests up to half a minute in between; a busy machine makes many do so."""


def nothing_lost_or_doubled(engine: System, count: int) -> None:
    """Every order is final, has gapless events up to its status, and at most one attempt landed."""
    eventually(is_settled(engine, count), SETTLED_S, f"{count} orders are final")
    with engine.postgres() as db:
        assert db.execute("SELECT count(*) FROM orders_order").fetchone() == (count,)
        doubled = db.execute(
            "SELECT order_id FROM orders_attempt WHERE state = 'landed' GROUP BY order_id HAVING count(*) > 1"
        ).fetchall()
        assert doubled == []
        landed = db.execute("SELECT count(*) FROM orders_attempt WHERE state = 'landed'").fetchone()
        confirmed = db.execute("SELECT count(*) FROM orders_order WHERE status = 'confirmed'").fetchone()
        assert landed == confirmed
        gaps = db.execute(
            "SELECT o.id, o.seq, array_agg(e.seq ORDER BY e.seq) FROM orders_order o"
            " LEFT JOIN orders_orderevent e ON e.order_id = o.id GROUP BY o.id, o.seq"
            " HAVING array_agg(e.seq ORDER BY e.seq) IS DISTINCT FROM array(SELECT generate_series(1, o.seq))"
        ).fetchall()
        assert gaps == []
