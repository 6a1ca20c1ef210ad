"""The control's sockets: they look into the table of events several times a second."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from tests.chaos.control import book

EVERY_S = 0.15
NEWS = """
SELECT e.* FROM unnest(%s::uuid[], %s::int[]) AS known (order_id, seq)
JOIN orders_orderevent e ON e.order_id = known.order_id AND e.seq > known.seq ORDER BY e.id
"""
ENDED = "SELECT id::text, seq FROM orders_order WHERE id = ANY(%s::uuid[]) AND status = ANY(%s)"
Asgi = Callable[..., Awaitable[Any]]


async def serve(scope: dict[str, Any], receive: Asgi, send: Asgi) -> None:
    """Serve `/ws/orders`, or `/ws/{orderId}`, which ends with its order."""
    await receive()
    await send({"type": "websocket.accept"})
    name = scope["path"].rpartition("/")[2]
    after = parse_qs(scope["query_string"].decode()).get("after", ["0"])[-1]
    follows = {} if name == "orders" else {name: int(after)}
    telling = asyncio.create_task(tell(follows, send, single=name != "orders"))
    try:
        while (message := await receive())["type"] != "websocket.disconnect":
            asked = json.loads(message.get("text") or "{}")
            follows.update({one["orderId"]: one.get("after", 0) for one in asked.get("follow", [])})
            await send({"type": "websocket.send", "text": json.dumps({"following": len(follows)})})
    finally:
        telling.cancel()


async def tell(follows: dict[str, int], send: Asgi, single: bool) -> None:
    """Send what is new of every order that is followed; an order that has ended is not followed any more."""
    while True:
        with suppress(Exception):
            if follows:
                await tell_news(follows, send)
            if single and not follows:
                await send({"type": "websocket.close", "code": 1000})
                return
        await asyncio.sleep(EVERY_S)


async def tell_news(follows: dict[str, int], send: Asgi) -> None:
    """Look once, and send what there is."""
    asked = dict(follows)
    for row in await asyncio.to_thread(book.sql, NEWS, list(asked), list(asked.values())):
        order_id = str(row["order_id"])
        await send({"type": "websocket.send", "text": json.dumps(book.wire(row))})
        follows[order_id] = max(follows.get(order_id, 0), row["seq"])
        if row["status"] in book.FINAL:
            follows.pop(order_id, None)
    ended = await asyncio.to_thread(book.sql, ENDED, list(follows), list(book.FINAL))
    for row in ended:
        if follows.get(row["id"], 0) >= row["seq"]:
            follows.pop(row["id"], None)
