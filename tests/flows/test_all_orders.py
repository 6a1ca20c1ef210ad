"""All orders by stream, by pages and by webhook, through restarts and a loss of Redis: complete and in sequence."""

import asyncio
import json
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import websockets

from orders.client import (
    AnswerLost,
    Client,
    Event,
    LimitOrder,
    MarketOrder,
    NewOrder,
    Refused,
    Rewound,
    SniperOrder,
    Unreachable,
    launch,
)
from tests.chaos.ledgers import quoted
from tests.orders.receiver import Receiver, receiving, signatures
from tests.system import System, eventually, system

pytestmark = pytest.mark.system

ORDERS = 500
WITHIN_S = 150.0
RECONNECT_EVERY_S = 0.3
SETTINGS = {"MOCK_QUOTE_DELAY_MS": "0", "MOCK_CONFIRM_DELAY_MS": "200-600", "ENGINE_WEBHOOK_PRIVATE": "1"}
MINT = "7vfCXTUXx5WJV5JADk17DUJ4ksgau7utNKj4b963voxs"
"""A token that is never launched."""
PAIR = {"token_in": "SOL", "token_out": "USDC", "amount": 1, "slippage_bps": 2_000}


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
            return
        del events[seq - 1 :]
        assert len(events) == seq - 1, f"event {seq} of {message['orderId']} came after {len(events)}"
        events.append(message)


def order(number: int) -> NewOrder:
    """Return the order of this number: of five, two sell now, one fires at once, and two rest."""
    name = f"mixed-{number}"
    if number % 5 < 2:
        return MarketOrder(**PAIR, client_order_id=name)
    if number % 5 == 3:
        return SniperOrder(**PAIR | {"token_out": MINT}, client_order_id=name, trigger=launch())
    return LimitOrder(**PAIR, client_order_id=name, limit_price="1" if number % 5 == 2 else "99999")


async def steady(client: Client, histories: Histories, begun: asyncio.Event) -> None:
    """Follow from before the first order, on a connection that only the engine breaks."""
    async with aclosing(client.follow_all()) as told:
        async for message in told:
            begun.set()
            if isinstance(message, Event | Rewound):
                histories.take(dict(message.raw) if message.raw else withdrawal(message))


def withdrawal(message: Any) -> dict[str, Any]:
    """Write a rewind that the client found out by itself."""
    return {"orderId": message.order_id, "rewoundTo": message.to}


async def restless(engine: System, histories: Histories) -> None:
    """Follow by cursor alone, from the first event that is kept, and leave every few hundred milliseconds."""
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


def paged(engine: System) -> Histories:
    """Read everything over REST, page by page."""
    histories, cursor = Histories(), "0"
    with httpx.Client(base_url=engine.url, headers=engine.headers, timeout=WITHIN_S) as http:
        while True:
            page = http.get("/api/events", params={"after": cursor, "limit": 100}).json()
            for event in page["results"]:
                histories.take(event)
            cursor = page["cursor"]
            if page["next"] is None:
                return histories


async def trade(engine: System, client: Client) -> list[str]:
    """Place the orders and cancel those that rest, while API and webhooks' worker are killed and Redis is emptied."""
    ids = []
    for number in range(ORDERS):
        ids.append((await client.place(order(number))).order_id)
        if number == ORDERS // 3:
            engine.kill("api")
            engine.kill("dlq")
        if number == 2 * ORDERS // 3:
            engine.redis().flushall()
    for order_id in [*ids[3::5], *ids[4::5]]:
        await cancelled(client, order_id)
    return ids


async def cancelled(client: Client, order_id: str) -> None:
    """Cancel an order, if not now, then in a moment."""
    while True:
        try:
            await client.cancel(order_id)
        except (Refused, Unreachable, AnswerLost) as reason:
            if isinstance(reason, Refused) and not reason.passes:
                assert (await client.order(order_id)).status == "cancelled", reason
                return
            await asyncio.sleep(0.1)
        else:
            return


def is_over(histories: Histories) -> bool:
    """Tell whether the client has the end of every order."""
    final = {"confirmed", "failed", "cancelled", "expired"}
    return sum(bool(events) and events[-1]["status"] in final for events in histories.held.values()) == ORDERS


async def ended(histories: Histories) -> None:
    """Return once the client has the end of every order."""
    while not is_over(histories):
        await asyncio.sleep(0.1)


def made(engine: System, receiver: Receiver) -> str:
    """Make a webhook; return its secret."""
    body = {"url": receiver.url}
    answer = httpx.post(f"{engine.url}/api/webhooks", json=body, headers=engine.headers, timeout=WITHIN_S)
    return str(answer.raise_for_status().json()["secret"])


def received(receiver: Receiver) -> Histories:
    """Return what a receiver of a webhook holds."""
    histories = Histories()
    for event in receiver.events:
        histories.take(event)
    return histories


async def run(engine: System) -> tuple[list[str], Histories, Histories]:
    """Trade before two clients; return the orders and what the clients hold once both have every end."""
    one, other, begun = Histories(), Histories(), asyncio.Event()
    async with Client(engine.url, api_key=engine.api_key, patience_s=WITHIN_S) as client:
        following = [
            asyncio.create_task(steady(client, one, begun)),
            asyncio.create_task(restless(engine, other)),
        ]
        try:
            async with asyncio.timeout(WITHIN_S):
                await begun.wait()
                ids = await trade(engine, client)
                for waiting in (ended(one), ended(other)):
                    await waiting
        finally:
            told = {"steady": tally(one), "restless": tally(other)}
            over = [task for task in following if task.done()]
            for task in following:
                task.cancel()
            results = await asyncio.gather(*following, return_exceptions=True)
            assert not over, (results, told)
    return ids, one, other


def tally(histories: Histories) -> tuple[int, int, int]:
    return len(histories.held), sum(map(len, histories.held.values())), histories.repeats


def test_500_orders_are_told_complete_and_in_sequence_to_every_kind_of_client():
    with receiving(statuses=[500, 204] * 5) as receiver, system(SETTINGS) as engine:
        quoted(engine)
        secret = made(engine, receiver)
        ids, one, other = asyncio.run(run(engine))
        eventually(lambda: is_over(received(receiver)), WITHIN_S, "the webhook has every end")
        pages = paged(engine)
        with httpx.Client(base_url=engine.url, headers=engine.headers, timeout=WITHIN_S) as http:
            stands = {order_id: http.get(f"/api/orders/{order_id}/events").json()["events"] for order_id in ids}
    for name, histories in (("steady", one), ("restless", other), ("paged", pages), ("webhook", received(receiver))):
        assert histories.held.keys() == set(ids), name
        assert {i: events for i, events in histories.held.items() if events != stands[i]} == {}, name
    assert one.repeats == 0, "the client drops what it has yielded"
    assert all(signatures(secret, headers, body) == [True] for headers, body in receiver.calls)
