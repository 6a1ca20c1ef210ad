"""Default delays: a thousand orders at once, and how long after the last POST all of them are final.

.venv/bin/python -m tests.load.settle --orders 1000
"""

import argparse
import asyncio
import json
import time

from tests.load.burst import post_all, usage
from tests.system import eventually, is_settled, system


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=1_000)
    options.add_argument("--connections", type=int, default=32)
    chosen = options.parse_args()
    with system() as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        before, begun = usage(engine), time.monotonic()
        asyncio.run(post_all(engine, chosen.orders, chosen.connections))
        posted = time.monotonic()
        eventually(is_settled(engine, chosen.orders), 120, "all orders are final in Postgres")
        settled, after = time.monotonic(), usage(engine)
        with engine.postgres() as db:
            outcomes = dict(db.execute("SELECT status, count(*) FROM orders_order GROUP BY status").fetchall())
            tries = dict(db.execute("SELECT attempt, count(*) FROM orders_order GROUP BY attempt").fetchall())
    figures = {
        "orders": chosen.orders,
        "posted within s": round(posted - begun, 2),
        "all final s after the last POST": round(settled - posted, 2),
        "outcomes": outcomes,
        "orders by attempts": tries,
        "CPU s": {name: round(after[name] - before[name], 2) for name in sorted(before)},
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
