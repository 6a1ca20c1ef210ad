"""A socket per order: every order placed and followed to its end on a socket of its own, beside idle ones.

.venv/bin/python -m tests.load.sockets --orders 3000 --idle 0
.venv/bin/python -m tests.load.sockets --orders 500 --connections 4 --idle 10000
"""

import argparse
import asyncio
import json
import resource
import time
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import aiohttp
import httpx
import uvloop

from tests.load.burst import MARKET, STAGES, usage
from tests.load.overload import memory, ms
from tests.system import NO_DELAYS, System, eventually, is_settled, system

RESTS = {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "limitPrice": "99999"}
OPENED_AT_ONCE = 100
SETTINGS = {**NO_DELAYS, "MOCK_LAUNCH_EVERY_S": "0", "ENGINE_SOCKETS_MAX": "20000", "ENGINE_KEY_SOCKETS_MAX": "20000"}


def late_s(text: str) -> float:
    """Return the seconds from an event to now."""
    return time.time() - datetime.fromisoformat(json.loads(text)["at"]).timestamp()


async def follow(session: aiohttp.ClientSession, engine: System, late: list[float]) -> None:
    """Place an order and read its socket to the end."""
    async with session.ws_connect(f"{engine.ws}/api/orders/execute") as socket:
        await socket.send_json(MARKET)
        told = []
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                late.append(late_s(message.data))
                told.append(json.loads(message.data)["status"])
    assert told == STAGES, told


async def idle(session: aiohttp.ClientSession, engine: System, count: int, open_: AsyncExitStack) -> None:
    """Open sockets on an order that rests, each of which hears its first event."""
    answer = httpx.post(f"{engine.url}/api/orders/execute", json=RESTS, headers=engine.headers).json()
    free = asyncio.Semaphore(OPENED_AT_ONCE)

    async def one() -> None:
        async with free:
            socket = await open_.enter_async_context(session.ws_connect(f"{engine.ws}/ws/{answer['orderId']}"))
            assert (await socket.receive_json())["status"] == "pending"

    await asyncio.gather(*(one() for _ in range(count)))


async def run(engine: System, orders: int, connections: int, idlers: int) -> dict[str, Any]:
    """Open the idle sockets, then follow the orders; every socket must tell its whole story."""
    late: list[float] = []
    todo = iter(range(orders))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=engine.headers) as session, AsyncExitStack() as open_:
        if idlers:
            await idle(session, engine, idlers, open_)

        async def client() -> None:
            for _ in todo:
                await follow(session, engine, late)

        before, begun = usage(engine), time.monotonic()
        await asyncio.gather(*(client() for _ in range(connections)))
        took, after, used = time.monotonic() - begun, usage(engine), memory(engine)
    return {
        "orders": orders,
        "sockets at a time": connections,
        "idle sockets": idlers,
        "orders per second, every socket whole": round(orders / took),
        "from an event to its socket, ms": ms(late),
        "memory of the API, MB": round(used["api"]),
        "CPU microseconds per order": {
            name: round((after[name] - before.get(name, 0)) * 1e6 / orders) for name in sorted(after)
        },
    }


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=3_000)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--idle", type=int, default=0)
    chosen = options.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with system(SETTINGS) as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        figures = uvloop.run(run(engine, chosen.orders, chosen.connections, chosen.idle))
        eventually(is_settled(engine, chosen.orders), 60, "all are in Postgres")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
