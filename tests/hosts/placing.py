"""Orders of every type, placed as a client does that must have them accepted: at whichever host answers."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import aiohttp

from tests.hosts.cluster import Cluster

Order = dict[str, Any]

# The price wanders while the chain takes its time; a market order must put up with it.
MARKET: Order = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "slippageBps": 2000}
LIMIT: Order = {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "limitPrice": "155"}
SNIPER: Order = {
    **{"type": "sniper", "tokenIn": "SOL", "tokenOut": "WIF", "amount": "0.5", "slippageBps": 2000},
    "trigger": {"kind": "liquidity", "atLeast": "1000"},
}
TOO_LARGE: Order = {**MARKET, "amount": "1000000000"}
"""Fails at once, for its own size, and becomes a dead letter."""
MIX = (MARKET, MARKET, LIMIT, MARKET, SNIPER, MARKET, LIMIT, MARKET, MARKET, TOO_LARGE)
"""What `place` places, over and over; one in ten fails."""
CLIENTS = 16
ANSWER_S = 3.0
PLACED_S = 120.0


def failing(count: int) -> int:
    """Return how many of so many orders of the mix fail for their own sake."""
    return sum(MIX[number % len(MIX)] is TOO_LARGE for number in range(count))


async def place(engine: Cluster, count: int, acts: Mapping[int, Callable[[], None]]) -> list[str]:
    """Place so many of the mix; once as many are accepted as an act has for its key, do it.  Returns their ids.

    Others go on placing meanwhile: an act may wait for orders that are on their way.
    """
    todo, ids = iter(range(count)), []
    to_do, acting = dict(acts), asyncio.Lock()

    async def client(session: aiohttp.ClientSession) -> None:
        for number in todo:
            ids.append(await accepted(session, engine.apis, number, MIX[number % len(MIX)]))
            for act in [to_do.pop(after) for after in sorted(to_do) if len(ids) >= after]:
                async with acting:
                    await asyncio.to_thread(act)

    limits = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(timeout=limits, headers=engine.headers) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    assert not to_do
    return ids


async def accepted(session: aiohttp.ClientSession, urls: Sequence[str], number: int, order: Order) -> str:
    """Send an order under a name of its own, host after host, until one has accepted it; return its id."""
    named = {**order, "clientOrderId": str(uuid4())}
    async with asyncio.timeout(PLACED_S):
        while True:
            try:
                async with session.post(f"{urls[number % len(urls)]}/api/orders/execute", json=named) as answer:
                    # Whatever is down, a client hears 202 or a named 503, never another failure.
                    assert answer.status in (202, 503), await answer.text()
                    if answer.status == 202:
                        return str((await answer.json())["orderId"])
            except (aiohttp.ClientError, TimeoutError, OSError):
                # Not known whether it was accepted: the next host is told the same name.
                await asyncio.sleep(0.02)
            number += 1
