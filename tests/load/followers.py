"""Clients that follow all orders, each in a way of its own, and what they hold of them."""

import asyncio
import json
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import websockets

from orders.client import Client, Event, Rewound
from tests.chaos.checker.world import FINAL
from tests.orders.receiver import Receiver
from tests.system import System

RECONNECT_EVERY_S = 0.3


@dataclass
class Histories:
    """What a client holds of each order: the rule of the API's documentation, and nothing else."""

    held: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    repeats: int = 0

    def take(self, message: dict[str, Any]) -> None:
        """Keep an event, unless it is there; of a later epoch it takes the place of those from its seq on."""
        events = self.held.setdefault(message["orderId"], [])
        if "rewoundTo" in message:
            del events[message["rewoundTo"] :]
            return
        seq, epoch = message["seq"], message["epoch"]
        if (seq == 1 and events) or (events and (epoch, seq) <= (events[-1]["epoch"], events[-1]["seq"])):
            self.repeats += 1
            before = events[seq - 1] if seq <= len(events) else message
            assert before["epoch"] != epoch or before == message, f"told otherwise: {before}, {message}"
            return
        del events[seq - 1 :]
        assert len(events) == seq - 1, f"event {seq} of {message['orderId']} came after {len(events)}"
        events.append(message)

    @property
    def ended(self) -> int:
        """How many orders it has the end of."""
        return sum(bool(events) and events[-1]["status"] in FINAL for events in self.held.values())


async def steady(client: Client, histories: Histories, begun: asyncio.Event) -> None:
    """Follow the stream from before the first order, on a connection that only the engine breaks."""
    async with aclosing(client.follow_all()) as told:
        async for message in told:
            begun.set()
            if isinstance(message, Event | Rewound):
                histories.take(dict(message.raw) if message.raw else withdrawal(message))


def withdrawal(message: Any) -> dict[str, Any]:
    """Write a rewind that the client found out by itself."""
    return {"orderId": message.order_id, "rewoundTo": message.to}


async def restless(engine: System, histories: Histories) -> None:
    """Follow the stream by cursor alone, from the first event that is kept, and leave every 300 ms."""
    cursor = "0"
    while True:
        with suppress(OSError, TimeoutError, websockets.WebSocketException):
            async with (
                websockets.connect(f"{engine.ws}/ws/orders", additional_headers=engine.headers, proxy=None) as socket,
                asyncio.timeout(RECONNECT_EVERY_S),
            ):
                await socket.send(json.dumps({"follow": "all", "after": cursor}))
                async for text in socket:
                    message = json.loads(text)
                    assert "error" not in message or message["error"]["code"] == "store_unreachable", text
                    cursor = message.get("cursor", cursor)
                    if "orderId" in message:
                        histories.take(message)
        await asyncio.sleep(0.01)


async def paging(engine: System, histories: Histories) -> None:
    """Read page after page over REST."""
    cursor = "0"
    async with httpx.AsyncClient(base_url=engine.url, headers=engine.headers, trust_env=False) as http:
        while True:
            with suppress(httpx.HTTPError):
                answer = await http.get("/api/events", params={"after": cursor, "limit": 200})
                assert answer.status_code in (200, 503), answer.text
                if answer.status_code == 200:
                    page = answer.json()
                    for event in page["results"]:
                        histories.take(event)
                    cursor = page["cursor"]
                    if page["next"]:
                        continue
            await asyncio.sleep(0.2)


async def hooked(receiver: Receiver, histories: Histories) -> None:
    """Take what the receiver of the webhook has kept: what it has answered with 2xx."""
    taken = 0
    while True:
        for _, body in receiver.kept[taken:]:
            for event in json.loads(body)["events"]:
                histories.take(event)
            taken += 1
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
