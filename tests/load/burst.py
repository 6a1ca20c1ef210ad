"""A burst of market orders over many connections: rate, CPU per order by process, and every order checked at the end.

.venv/bin/python -m tests.load.burst --orders 10000 --connections 64
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tests.system import NO_DELAYS, System, eventually, is_settled, system

STAGES = ["pending", "routing", "building", "submitted", "confirmed"]
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds a process and its children have used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def usage(engine: System) -> dict[str, float]:
    """Return CPU seconds by process name; Postgres' backends are counted with it."""
    used = {name: cpu_s(pid) for name, pid in engine.pids().items()}
    parent = str(engine.pids()["postgres"])
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if rest.rpartition(")")[2].split()[1] == parent:
            used["postgres"] += cpu_s(int(pid))
    return {**used, "load generator": time.process_time()}


MARKET = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}


async def post_all(engine: Any, orders: int, connections: int, order: Mapping[str, Any] = MARKET) -> list[str]:
    """Post so many of the order to an engine over so many connections; return their ids."""
    todo = iter(range(orders))
    ids: list[str] = []
    payload = json.dumps(order).encode()
    headers = {"Content-Type": "application/json", **engine.headers}

    async def client(session: aiohttp.ClientSession) -> None:
        for _ in todo:
            async with session.post(f"{engine.url}/api/orders/execute", data=payload, headers=headers) as answer:
                body = await answer.read()
                assert answer.status == 202, body
                ids.append(json.loads(body)["orderId"])

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        await asyncio.gather(*(client(session) for _ in range(connections)))
    return ids


async def check_all(engine: System, ids: list[str], connections: int) -> None:
    """Read every order over WebSocket and REST and compare both."""
    todo = iter(ids)

    async def client(session: aiohttp.ClientSession) -> None:
        for order_id in todo:
            async with session.ws_connect(f"{engine.ws}/ws/{order_id}") as socket:
                streamed = [
                    json.loads(message.data) async for message in socket if message.type is aiohttp.WSMsgType.TEXT
                ]
            async with session.get(f"{engine.url}/api/orders/{order_id}/events") as answer:
                shown = (await answer.json())["events"]
            assert streamed == shown, (order_id, streamed, shown)
            assert [event["status"] for event in streamed] == STAGES, streamed
            assert [event["seq"] for event in streamed] == [1, 2, 3, 4, 5], streamed

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, headers=engine.headers) as session:
        await asyncio.gather(*(client(session) for _ in range(connections)))


def check_postgres(engine: System, orders: int) -> None:
    """Compare the archive: five rows an order, one landed attempt, no other."""
    with engine.postgres() as db:
        confirmed = db.execute("SELECT count(*) FROM orders_order WHERE status = 'confirmed'").fetchone()
        stages = db.execute(
            "SELECT stages, count(*) FROM (SELECT order_id, array_agg(status::text ORDER BY seq) stages"
            " FROM orders_orderevent GROUP BY order_id) t GROUP BY 1"
        ).fetchall()
        attempts = db.execute(
            "SELECT n, landed, count(*) FROM (SELECT order_id, count(*) n,"
            " count(*) FILTER (WHERE state = 'landed') landed FROM orders_attempt GROUP BY order_id) t GROUP BY 1, 2"
        ).fetchall()
    assert confirmed == (orders,), confirmed
    assert stages == [(STAGES, orders)], stages
    assert attempts == [(1, 1, orders)], attempts


def measure(engine: System, orders: int, connections: int, verify: bool) -> dict[str, Any]:
    """Run the burst and return its figures."""
    before, begun = usage(engine), time.monotonic()
    ids = asyncio.run(post_all(engine, orders, connections))
    accepted = time.monotonic()
    eventually(is_settled(engine, orders), 120, f"{orders} orders archived")
    archived, after = time.monotonic(), usage(engine)
    figures = {
        "orders": orders,
        "accepted per second": round(orders / (accepted - begun)),
        "archived per second": round(orders / (archived - begun)),
        "CPU microseconds per order": {
            name: round((after[name] - before.get(name, 0)) * 1e6 / orders) for name in sorted(after)
        },
    }
    if verify:
        asyncio.run(check_all(engine, ids, connections))
        check_postgres(engine, orders)
        figures["verified"] = "five events each over WebSocket, REST and in Postgres; one landed attempt each"
    return figures


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=10_000)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--no-verify", action="store_true")
    chosen = options.parse_args()
    # Launched tokens would be polled too: the figures are of the market the engine starts with.
    with system({**NO_DELAYS, "MOCK_LAUNCH_EVERY_S": "0"}) as engine:
        # The first quotes must be in: the burst measures orders, not the start.
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        print(json.dumps(measure(engine, chosen.orders, chosen.connections, not chosen.no_verify), indent=2))


if __name__ == "__main__":
    main()
