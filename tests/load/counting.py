"""What counting costs an order, without anything else: CPU microseconds of the order worker, and of DBSync.

`.venv/bin/python -m tests.load.counting`; compare with the CPU per order that `tests.load.burst` prints.
"""

import argparse
import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from engine.lifecycle import Status
from engine.orders import OrderType
from orders.telemetry import metrics

FACTS = {"venue": "METEORA"}
MOVES = (
    ((Status.ROUTING, FACTS), (Status.BUILDING, FACTS)),
    ((Status.SUBMITTED, FACTS),),
    ((Status.CONFIRMED, FACTS),),
)
"""The moves of a market order, as orders/flow/execution.py and orders/flow/settlement.py make them."""
STAGES = (Status.PENDING, Status.ROUTING, Status.BUILDING, Status.SUBMITTED, Status.CONFIRMED)
BATCHES = (1, 10, 100)


def moved(orders: int, batch: int) -> float:
    """Count that many orders' moves, so many at a time; return microseconds per order."""
    began = time.process_time()
    for _ in range(orders // batch):
        for steps in MOVES:
            metrics.moved((OrderType.MARKET, steps) for _ in range(batch))
    return (time.process_time() - began) / orders * 1e6


def archived(orders: int, batch: int) -> float:
    """Time that many orders' events, so many orders at a time; return microseconds per order."""
    batches = [[event for _ in range(batch) for event in life()] for _ in range(orders // batch)]
    began = time.process_time()
    for events in batches:
        metrics.archived(events, 0, refused=0)
    return (time.process_time() - began) / orders * 1e6


def life() -> list[Any]:
    """Make the events of one order."""
    order_id, at = uuid4(), datetime.now(UTC)
    kinds = ("market", None, None, None, None)
    return [
        SimpleNamespace(order_id=order_id, seq=seq, status=status, at=at, type=kind)
        for seq, (status, kind) in enumerate(zip(STAGES, kinds, strict=True), 1)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    orders = parser.parse_args().orders
    figures = {
        "order worker, µs per order by batch": {n: round(min(moved(orders, n) for _ in range(5)), 1) for n in BATCHES},
        "dbsync, µs per order": round(min(archived(orders, 100) for _ in range(3)), 1),
    }
    print(json.dumps(figures, indent=2, ensure_ascii=False))
