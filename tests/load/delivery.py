"""Every event of mixed orders to each kind of client, through kills and losses of Redis, compared with the rows.

.venv/bin/python -m tests.load.delivery --orders 10000
"""

import argparse
import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import httpx

from orders.client import (
    AnswerLost,
    Client,
    LimitOrder,
    MarketOrder,
    NewOrder,
    Refused,
    SniperOrder,
    Unreachable,
    launch,
)
from tests.chaos.checker import records
from tests.chaos.checker.world import World, normal
from tests.load.followers import Histories, hooked, paging, restless, steady
from tests.orders.receiver import Receiver, receiving, signatures
from tests.system import System, eventually, system

SETTINGS = {
    **{"MOCK_QUOTE_DELAY_MS": "0", "MOCK_CONFIRM_DELAY_MS": "0", "MOCK_LAUNCH_EVERY_S": "0"},
    "ENGINE_WEBHOOK_PRIVATE": "1",
}
BREAKS = (("api", "dlq"), ("redis",), ("dbsync", "dlq"), ("redis",), ("api", "order"), ("redis", "dlq"))
"""What is killed, or of Redis emptied, at equal distances while orders are placed and cancelled."""
AT_A_TIME = 8
RESTING = 50
"""Orders that rest before the oldest of them is cancelled."""
ROWS_WITHIN_S = 90.0
"""What a DBSync had taken when it was killed comes to another only when it has lain for a while."""
REFUSES_EVERY, HANGS_EVERY = 10, 40
"""Of the calls of the webhook, those that are answered 500, and not at all."""
MINT = "7vfCXTUXx5WJV5JADk17DUJ4ksgau7utNKj4b963voxs"
"""A token that is never launched."""
PAIR = {"token_in": "SOL", "token_out": "USDC", "amount": 1, "slippage_bps": 2_000}


def order(number: int) -> NewOrder:
    """Return the order of this number: of five, two sell now, one fires at once, and two rest."""
    name = f"mixed-{number}"
    if number % 5 < 2:
        return MarketOrder(**PAIR, client_order_id=name)
    if number % 5 == 3:
        return SniperOrder(**PAIR | {"token_out": MINT}, client_order_id=name, trigger=launch())
    return LimitOrder(**PAIR, client_order_id=name, limit_price="1" if number % 5 == 2 else "99999")


class Trading:
    """Places orders and cancels those that rest, several at a time, and breaks something now and then."""

    def __init__(self, engine: System, client: Client, orders: int) -> None:
        self.engine, self.client = engine, client
        self.numbers: Iterator[int] = iter(range(orders))
        self.ids: list[str] = []
        self.resting: deque[str] = deque()
        # Two of five are cancelled, too.
        every = orders * 7 // 5 // (len(BREAKS) + 1)
        self.breaks = {every * (number + 1): what for number, what in enumerate(BREAKS)}
        self.acts = 0
        self.broken: Counter[str] = Counter()

    async def run(self) -> None:
        """Return once all are placed, and nothing rests."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(self.place())
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(self.cancel(0))
        assert self.broken == Counter(name for what in BREAKS for name in what)

    async def place(self) -> None:
        for number in self.numbers:
            order_id = (await self.client.place(order(number))).order_id
            self.ids.append(order_id)
            if number % 5 > 2:
                self.resting.append(order_id)
            await self.acted()
            await self.cancel(RESTING)

    async def cancel(self, but: int) -> None:
        """Cancel the orders that have rested for longest, but for so many."""
        while len(self.resting) > but:
            order_id = self.resting.popleft()
            while not await self.is_cancelled(order_id):
                await asyncio.sleep(0.1)
            await self.acted()

    async def is_cancelled(self, order_id: str) -> bool:
        """Cancel an order; tell whether it is."""
        try:
            await self.client.cancel(order_id)
        except (Unreachable, AnswerLost):
            return False
        except Refused as reason:
            if reason.passes:
                return False
            assert (await self.client.order(order_id)).status == "cancelled", reason
        return True

    async def acted(self) -> None:
        """Break what is due after so many placed and cancelled."""
        self.acts += 1
        for name in self.breaks.get(self.acts, ()):
            if name == "redis":
                self.engine.redis().flushall()
            else:
                await self.kill(name)
            self.broken[name] += 1

    async def kill(self, name: str) -> None:
        """Kill a process, once it is back from the last time."""
        while True:
            try:
                return self.engine.kill(name)
            except ProcessLookupError:
                await asyncio.sleep(0.1)


async def run(engine: System, receiver: Receiver, orders: int) -> dict[str, Any]:
    """Trade before all clients; return the figures once each has every end and holds what the rows have."""
    ways = {name: Histories() for name in ("steady stream", "restless stream", "REST pages", "webhook")}
    one, other, pages, hook = ways.values()
    within_s, begun = 150 + orders / 10, asyncio.Event()
    async with Client(engine.url, api_key=engine.api_key, patience_s=within_s) as client:
        following = [
            asyncio.create_task(steady(client, one, begun)),
            asyncio.create_task(restless(engine, other)),
            asyncio.create_task(paging(engine, pages)),
            asyncio.create_task(hooked(receiver, hook)),
        ]
        waiting = [*following, asyncio.create_task(traded(engine, client, orders, begun, ways))]
        try:
            done, _ = await asyncio.wait(waiting, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            told = {name: (len(its.held), its.ended, its.repeats) for name, its in ways.items()}
            assert done, f"not all is told; orders, ends and repeats by client: {told}"
            # A client ends only by what is wrong.
            return next(iter(done)).result()  # type: ignore[return-value]
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def traded(
    engine: System, client: Client, orders: int, begun: asyncio.Event, ways: dict[str, Histories]
) -> dict[str, Any]:
    """Trade once the stream has begun, wait for every client, and compare; return the figures."""
    await begun.wait()
    trading, began = Trading(engine, client, orders), time.monotonic()
    await trading.run()
    placed_s, told_s = time.monotonic() - began, {}
    while len(told_s) < len(ways):
        now_s = round(time.monotonic() - began - placed_s, 1)
        told_s |= {name: now_s for name, its in ways.items() if name not in told_s and its.ended == orders}
        await asyncio.sleep(0.2)
    world = await compared(engine, trading.ids, ways)
    assert ways["steady stream"].repeats == 0, "the client drops what it has yielded"
    return {
        "orders": orders,
        "by outcome": Counter(row.status for row in world.rows.values()),
        "events": sum(map(len, world.events.values())),
        "killed and emptied": trading.broken,
        "placed and cancelled in s": round(placed_s, 1),
        "told completely, s after that": told_s,
        "repeats": {name: its.repeats for name, its in ways.items()},
    }


async def compared(engine: System, ids: list[str], ways: dict[str, Histories]) -> World:
    """Return the rows once they are what every client holds.

    Raises AssertionError if they are not within ROWS_WITHIN_S.
    """
    deadline = time.monotonic() + ROWS_WITHIN_S
    while True:
        world = World(calm_over=float("inf"))
        await asyncio.to_thread(records.read, engine.running()["DATABASE_URL"], world)
        wrong = {name: found for name, its in ways.items() if (found := differences(its, ids, world))}
        if not wrong:
            return world
        few = {name: (len(found), found[:3]) for name, found in wrong.items()}
        assert time.monotonic() < deadline, f"clients and rows differ, in so many orders: {few}"
        await asyncio.sleep(0.5)


def differences(histories: Histories, ids: list[str], world: World) -> list[str]:
    """Compare what a client holds with the rows; say what is missing, unknown or otherwise."""
    wrong = [f"{order_id} is not told" for order_id in {*ids, *world.rows} - histories.held.keys()]
    wrong += [f"{order_id} is unknown" for order_id in histories.held.keys() - {*ids} | world.rows.keys() - {*ids}]
    for order_id, events in histories.held.items():
        rows = world.events.get(order_id, [])
        if [*map(normal, events)] != [*map(normal, rows)]:
            wrong.append(f"{order_id} was told {events}, the rows have {rows}")
    return wrong


def hook(engine: System, receiver: Receiver) -> str:
    """Make a webhook; return its secret."""
    answer = httpx.post(f"{engine.url}/api/webhooks", json={"url": receiver.url}, headers=engine.headers)
    return str(answer.raise_for_status().json()["secret"])


def measure(orders: int) -> dict[str, Any]:
    """Start an engine and a receiver, and return the figures; raises AssertionError for what is not delivered."""
    unsteady = {"refuses_every": REFUSES_EVERY, "hangs_every": HANGS_EVERY}
    with receiving(**unsteady) as receiver, system(SETTINGS) as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        secret = hook(engine, receiver)
        figures = asyncio.run(run(engine, receiver, orders))
        assert all(signatures(secret, headers, body) == [True] for headers, body in receiver.calls)
        return {**figures, "calls of the webhook": len(receiver.calls), "of these kept": len(receiver.kept)}


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=10_000)
    print(json.dumps(measure(options.parse_args().orders), indent=2))


if __name__ == "__main__":
    main()
