"""A million limit orders at rest: the cost of a tick that crosses nothing, of one that fires 10,000, and of each order.

.venv/bin/python -m tests.load.resting --orders 1000000

Starts a Valkey of its own, without the engine's processes and without Postgres; the orders are put in by the engine's
own scripts.  Ends with 1 when a quiet tick over all of them costs more than twice what it costs over a thousand, or
10,000 that fire among all of them more than twice what they cost among 20,000.
"""

# ruff: noqa: E402 - the engine reads its settings as it is imported

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import django

# All of the 10,000 are to fire on one quote, however slow the machine; no secret is made or used.
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "ENGINE_SECRET_KEY": "of no use",
    "ENGINE_LOG_LEVEL": "ERROR",
    "LIMIT_QUOTE_AGE_MS": "60000",
}
django.setup()

from celery import current_app
from django.conf import settings

from deploy.stores import Stores
from engine.quotes import Pair
from engine.triggers import Sighting
from orders.flow import dispatch, intake, limits
from orders.stores import book, live, placing
from routing.catalogue import Catalogue, catalogue
from routing.store import now_ms, redis
from tests.orders.bench import TICKS, TOKENS, Bench

NAME = "SOL-USDC"
PAIR = Pair(TOKENS["SOL"], TOKENS["USDC"], TICKS[NAME])
PRICE = Decimal(150)
"""What both venues pay; orders at it or below are reached."""
ABOVE = 50_000
"""Ticks over which resting orders spread: up to 500 dollars above the price."""
BELOW = 500
"""Ticks over which those spread that are to fire."""

BATCH = 500
WARM_UP = 100
REPEATS = 500
ROUNDS = 3
FEW = 1_000
FIRED = 10_000
SAMPLES = 2_000
TWICE = 2.0


@contextmanager
def engine() -> Iterator[None]:
    """Give this process a Valkey of its own, and a catalogue that no Postgres is asked for."""
    with tempfile.TemporaryDirectory(prefix="order-engine-resting-", ignore_cleanup_errors=True) as folder:
        stores = Stores(Path(folder), external=frozenset({"DATABASE_URL"}), durable=False)
        settings.REDIS_URL = current_app.conf.broker_url = stores.start()["REDIS_URL"]
        catalogue.reading = Catalogue({name: TOKENS[name] for name in ("SOL", "USDC")}, {NAME: PAIR}, {NAME: PAIR})
        catalogue.read_at = float("inf")
        try:
            yield
        finally:
            stores.kill()


def place(count: int, lowest: int, ticks: int) -> None:
    """Accept so many orders, as far as Redis sees it, at random levels from `lowest` on, and let DBSync have passed."""
    rng, told = random.Random(count), time.monotonic()
    for done in range(0, count, BATCH):
        at = datetime.now(UTC)
        placing.place(
            intake.placement(order(rng.randrange(lowest, lowest + ticks)), at, 0)
            for _ in range(min(BATCH, count - done))
        )
        # What DBSync has written goes: else the feed would hold as much as all orders together.
        redis().xtrim(live.FEED, maxlen=0, approximate=False)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{done:,} of {count:,} placed", file=sys.stderr)


def order(level: int) -> Any:
    """Make a limit order that rests at so many ticks."""
    return Bench().limit(str(level * PAIR.tick)).order


def place_to_fire() -> None:
    """Place the orders that the price has reached."""
    top = int(PRICE / PAIR.tick)
    place(FIRED, top - BELOW + 1, BELOW)


def place_to_rest(count: int) -> None:
    """Place orders that it has not."""
    place(count, int(PRICE / PAIR.tick) + 1, ABOVE)


def quote() -> None:
    """Have both venues quote, just now."""
    for venue in ("RAYDIUM", "METEORA"):
        Bench().price(str(PRICE), venue=venue, pair=PAIR)


def seen() -> Sighting:
    """Return the price as the limit worker sees it."""
    one = limits.sight([NAME])[NAME]
    assert isinstance(one, Sighting), one
    return one


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long it took, in microseconds, and what came of it."""
    begun = time.perf_counter()
    answer = work()
    return (time.perf_counter() - begun) * 1e6, answer


def quiet_tick() -> dict[str, dict[str, float]]:
    """Measure ticks that cross nothing: each script alone, and all that a new quote sets off."""
    quote()
    at = seen()
    parts: dict[str, Callable[[], Any]] = {
        "has_crossed": lambda: book.has_crossed(NAME, at.level),
        "claim": lambda: book.claim(NAME, at, now_ms()),
        "price changed: read the quotes, judge, cross": lambda: limits.price_changed([NAME]),
        "fire: read the quotes, judge, claim": lambda: limits.fire(NAME),
    }
    took: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(WARM_UP + REPEATS):
        quote()
        for name, part in parts.items():
            microseconds, answer = timed(part)
            assert not answer, (name, answer)
            took[name].append(microseconds)
    assert dispatch.waiting("limit") == 0
    return {name: shares(sorted(many[WARM_UP:])) for name, many in took.items()}


def shares(ordered: Sequence[float]) -> dict[str, float]:
    """Pick p50 and p99."""
    return {"p50": round(ordered[len(ordered) // 2]), "p99": round(ordered[len(ordered) * 99 // 100])}


def firing_tick() -> dict[str, float]:
    """Measure ticks that fire 10,000: microseconds an order, the best of some rounds."""
    claims, fires = [], []
    for _ in range(ROUNDS):
        quote()
        place_to_fire()
        took, ids = timed(claim_all)
        assert len(ids) == FIRED, len(ids)
        claims.append(took / FIRED)
        for start in range(0, FIRED, BATCH):
            live.rest(ids[start : start + BATCH])
        quote()
        took, count = timed(lambda: limits.fire(NAME))
        assert count == FIRED, count
        assert_fired(ids)
        fires.append(took / FIRED)
        # What the order worker and DBSync would have taken away.
        redis().delete("order")
        redis().xtrim(live.FEED, maxlen=0, approximate=False)
    return {"claim alone": round(min(claims), 2), "claim, move to triggered, wake": round(min(fires), 2)}


def claim_all() -> list[str]:
    """Take all that is reached out of the book, and do nothing with it."""
    at, ids = seen(), []
    while claim := book.claim(NAME, at, now_ms()):
        ids += claim.ids
        book.settle(claim)
    return ids


def assert_fired(ids: Sequence[str]) -> None:
    """Hold that each of these is `triggered`, by its second event."""
    assert {(str(status), seq) for status, seq in live.statuses(ids).values()} == {("triggered", 2)}
    # They go as orders do that are final and archived.
    for order_id in ids:
        redis().delete(live.key(order_id), f"{live.key(order_id)}:events")
    redis().delete(live.OPEN)


def used() -> int:
    """Return the bytes Redis uses."""
    return int(redis().info("memory")["used_memory"])


def memory_by_family(orders: int) -> dict[str, float]:
    """Return bytes per order by what they are for, from samples."""
    sums: dict[str, list[int]] = {name: [] for name in ("order", "order events", "limit", "limit_bucket")}
    for key in redis().scan_iter(count=10_000):
        name = "order events" if key.endswith(":events") else key.partition(":")[0]
        if name in sums and len(sums[name]) < SAMPLES:
            sums[name].append(redis().memory_usage(key, samples=0) or 0)
        if all(len(found) == SAMPLES for found in sums.values()):
            break
    each = {name: sum(found) / len(found) for name, found in sums.items()}
    levels = f"limit_levels:{{{NAME}}}"
    each["limit_bucket"] *= redis().zcard(levels) / orders
    each["limit_levels"] = (redis().memory_usage(levels, samples=0) or 0) / orders
    return {name: round(size, 1) for name, size in each.items()}


def measure(orders: int) -> dict[str, Any]:
    """Load, measure, load more, measure again."""
    place_to_rest(FEW)
    quiet_few = quiet_tick()
    place_to_rest(FIRED - FEW)
    firing_few = firing_tick()
    before, begun = used(), time.monotonic()
    place_to_rest(orders - FIRED)
    loaded_s = time.monotonic() - begun
    per_order = (used() - before) / (orders - FIRED)
    families = memory_by_family(orders)
    quiet_many = quiet_tick()
    firing_many = firing_tick()
    return {
        "resting": orders,
        "levels": redis().zcard(f"limit_levels:{{{NAME}}}"),
        "placed per second": round((orders - FIRED) / loaded_s),
        "quiet tick, microseconds": {f"{FEW:,} resting": quiet_few, f"{orders:,} resting": quiet_many},
        f"{FIRED:,} fire, microseconds an order": {
            f"of {2 * FIRED:,}": firing_few,
            f"of {orders + FIRED:,}": firing_many,
        },
        "bytes in Redis per resting order": {
            "in all": round(per_order),
            "by keys": families,
            "of these the book's own": round(
                sum(size for name, size in families.items() if name.startswith("limit")), 1
            ),
        },
        "quiet tick costs the same": all(
            quiet_many[name]["p50"] <= TWICE * quiet_few[name]["p50"] for name in quiet_few
        ),
        "firing costs in proportion": all(firing_many[name] <= TWICE * firing_few[name] for name in firing_few),
    }


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=1_000_000)
    chosen = options.parse_args()
    with engine():
        figures = measure(chosen.orders)
    print(json.dumps(figures, indent=2))
    sys.exit(0 if figures["quiet tick costs the same"] and figures["firing costs in proportion"] else 1)


if __name__ == "__main__":
    main()
