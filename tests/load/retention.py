"""Old orders go to the archive while live ones come: rate and latency of the live ones with and without.

.venv/bin/python -m tests.load.retention --old 200000 --orders 4000
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from tests.load import history
from tests.load.burst import post_all
from tests.load.latency import singles
from tests.system import NO_DELAYS, System, eventually, system

DAYS = 30
SPACING_S = 60.0
"""Seconds between two old orders: 200,000 reach back 139 days, of which 30 stay."""
TASK = "dlq.retire"


def switch(engine: System, on: bool) -> None:
    """Have beat send the task, or not; as the admin's schedule does."""
    with engine.postgres() as db:
        db.execute("UPDATE django_celery_beat_periodictask SET enabled = %s WHERE name = %s", [on, TASK])
        db.execute("UPDATE django_celery_beat_periodictasks SET last_update = now()")


def one(engine: System, query: str) -> int:
    """Ask Postgres for one number."""
    with engine.postgres() as db:
        row = db.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def archived(engine: System) -> int:
    """Count what has gone to the archive."""
    return one(engine, "SELECT count(*) FROM orders_archivedorder")


def burst(engine: System, orders: int) -> dict[str, float]:
    """Post so many orders at once; return how many a second were accepted, and archived by DBSync."""
    begun = time.monotonic()
    ids = asyncio.run(post_all(engine, orders, 64))
    accepted = time.monotonic()

    def settled() -> bool:
        with engine.postgres() as db:
            row = db.execute(
                "SELECT count(*) FROM orders_order WHERE id = ANY(%s::uuid[]) AND status = 'confirmed'", [ids]
            ).fetchone()
        return row == (orders,)

    eventually(settled, 120, f"{orders} orders confirmed in Postgres")
    return {"accepted/s": orders / (accepted - begun), "settled/s": orders / (time.monotonic() - begun)}


def phase(engine: System, on: bool, orders: int, single: int) -> dict[str, float]:
    """Measure live orders with retention on or off."""
    switch(engine, on)
    before = archived(engine)
    if on:
        eventually(lambda: archived(engine) > before, 60, "retention has begun")
        before = archived(engine)
    begun = time.monotonic()
    took = singles(engine, single)
    found = {"p50 ms": took[len(took) // 2], "p99 ms": took[len(took) * 99 // 100]} | burst(engine, orders)
    moved = archived(engine) - before
    return found | {"moved": moved, "moved/s": moved / (time.monotonic() - begun)}


def check(engine: System, written: int) -> dict[str, Any]:
    """See that no old order is lost or in both places, and what a row of the archive takes."""
    both = one(engine, "SELECT count(*) FROM orders_order JOIN orders_archivedorder USING (id)")
    strays = one(
        engine,
        "SELECT count(*) FROM orders_orderevent e JOIN orders_archivedorder a ON a.id = e.order_id",
    )
    old = one(engine, "SELECT count(*) FROM orders_order WHERE fingerprint = repeat('0', 64)")
    gone = archived(engine)
    assert (both, strays, old + gone) == (0, 0, written), (both, strays, old, gone, written)
    return {
        "archived": gone,
        "old orders hot": old,
        "bytes an archived order": one(engine, "SELECT pg_total_relation_size('orders_archivedorder')") // max(gone, 1),
    }


def summary(rounds: list[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: round(median(one[name] for one in rounds), 1) for name in rounds[0]}


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--old", type=int, default=200_000)
    options.add_argument("--orders", type=int, default=4_000)
    options.add_argument("--singles", type=int, default=200)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    history.SPACING_S = SPACING_S
    with system({**NO_DELAYS, "MOCK_LAUNCH_EVERY_S": "0", "RETENTION_DAYS": str(DAYS)}) as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        switch(engine, False)
        with engine.postgres() as postgres:
            written = history.write(postgres, chosen.old)["orders_order"]
        burst(engine, 500)
        rounds: dict[bool, list[Mapping[str, float]]] = {False: [], True: []}
        # In turns: what else the machine does falls on both alike.
        for _ in range(chosen.rounds):
            for on in (False, True):
                rounds[on].append(phase(engine, on, chosen.orders, chosen.singles))
                print(on, rounds[on][-1], file=sys.stderr)
        switch(engine, False)
        figures = {"without": summary(rounds[False]), "with": summary(rounds[True]), **check(engine, written)}
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
