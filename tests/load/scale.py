"""Market orders with 1, 2, 3 and 4 order workers: how many a second, and how many of them each worker carried.

.venv/bin/python -m tests.load.scale --orders 5000 --workers 1 2 3 4

What a worker carried is what its own /metrics says it brought to `submitted`.  The machine's load before each run and
the share of its cores that was busy during it stand beside the figures: where they are all busy, workers share the
cores, and more workers cannot carry more.
"""

import argparse
import asyncio
import json
import os
import time
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.load.burst import post_all, usage
from tests.system import NO_DELAYS, System, eventually, is_settled, system

STEP = ("engine_orders_total", {"type": "market", "status": "submitted"})


def carried(engine: System) -> dict[str, int]:
    """Return what each order worker has brought to `submitted`, by the worker's name."""
    listeners = json.loads((engine.data_dir / "metrics.json").read_text())
    addresses = {one["labels"]["process"]: one["targets"][0] for one in listeners}
    return {name: counted(at) for name, at in sorted(addresses.items()) if name.partition("-")[0] == "order"}


def counted(address: str) -> int:
    """Read one worker's count from its own listener."""
    name, labels = STEP
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return int(sum(sample.value for sample in samples if labels.items() <= sample.labels.items()))


def busy_s() -> tuple[float, float]:
    """Return the CPU seconds this machine has spent on anything, and all it had, since it started."""
    with open("/proc/stat") as stat:  # noqa: PTH123
        ticks = [int(field) for field in stat.readline().split()[1:9]]
    hertz = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4]) / hertz, sum(ticks) / hertz


def measure(engine: System, workers: int, orders: int, connections: int) -> dict[str, Any]:
    """Run a burst and return its figures."""
    load, cpu = os.getloadavg()[0], usage(engine)
    (busy, had), before, begun = busy_s(), carried(engine), time.monotonic()
    asyncio.run(post_all(engine, orders, connections))
    accepted = time.monotonic()
    eventually(is_settled(engine, orders), 180, f"{orders} orders archived")
    archived, (busy_then, had_then) = time.monotonic(), busy_s()
    shares = {name: (count - before[name]) / orders for name, count in carried(engine).items()}
    spent = sum(usage(engine).values()) - sum(cpu.values())
    return {
        "order workers": workers,
        "accepted per second": round(orders / (accepted - begun)),
        "archived per second": round(orders / (archived - begun)),
        "share of each order worker, %": {name: round(share * 100, 1) for name, share in shares.items()},
        "furthest from an even share, %": round(max(abs(share * workers - 1) for share in shares.values()) * 100, 1),
        "busy share of all cores, %": round((busy_then - busy) / (had_then - had) * 100),
        "of it this engine and its load generator, %": round(spent / (busy_then - busy) * 100),
        "load average before": round(load, 1),
    }


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=5_000)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2, 3, 4])
    options.add_argument("--delays", action="store_true", help="the default delays of the sandbox, not none")
    chosen = options.parse_args()
    delays = {} if chosen.delays else NO_DELAYS
    figures = []
    for workers in chosen.workers:
        # Launched tokens would be polled too: the figures are of the market the engine starts with.
        with system({**delays, "MOCK_LAUNCH_EVERY_S": "0"}, "--scale", f"order={workers}") as engine:
            eventually(lambda engine=engine: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
            figures.append(measure(engine, workers, chosen.orders, chosen.connections))
    print(json.dumps({"cores": os.cpu_count(), "orders": chosen.orders, "runs": figures}, indent=2))


if __name__ == "__main__":
    main()
