"""The WebSocket door: an order's events to whoever asks, and orders placed over the socket itself."""

import asyncio
from typing import Any
from urllib.parse import parse_qs

import structlog
from channels.generic.websocket import AsyncWebsocketConsumer

from orders import live
from orders.api import serializers
from orders.api.errors import body, describe
from orders.api.parsers import loads
from orders.aside import aside
from orders.gate import gate
from orders.intake import NewOrder
from orders.seen import uuid_or_none
from orders.tail import UnknownOrder, tail

log = structlog.get_logger(__name__)

DONE = 1000
BAD_REQUEST = 4400
UNKNOWN = 4404
CONFLICT = 4409
UNAVAILABLE = 1013
FIRST_MESSAGE_S = 30.0
"""How long a socket may be open without placing its order."""


class EventStream(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Streams one order's events and closes after the last."""

    # Events come from the tail; a channel of its own would cost each socket a subscription.
    channel_layer_alias = ""
    pump: "asyncio.Task[None] | None" = None

    def start(self, order_id: str, after: int) -> None:
        """Stream from here on beside whatever the socket receives."""
        self.pump = asyncio.create_task(self.stream(order_id, after))

    async def stream(self, order_id: str, after: int) -> None:
        """Send every event past `after`, then close."""
        try:
            async for event in tail().follow(order_id, after):
                await self.send(text_data=event)
            await self.close(DONE)
        except UnknownOrder:
            await self.refuse(UNKNOWN, body("not_found", f"there is no order {order_id}"))
        except Exception as reason:
            log.warning("stream broken off", order_id=order_id, reason=repr(reason))
            await self.close(UNAVAILABLE)

    async def refuse(self, code: int, error: dict[str, Any]) -> None:
        """Say what is wrong, in the one error shape, and close."""
        await self.send(text_data=live.encode(error))
        await self.close(code)

    async def disconnect(self, code: int) -> None:
        """Stop streaming to a client that has gone."""
        if self.pump:
            self.pump.cancel()


class OrderEvents(EventStream):
    """`/ws/{orderId}`, with `?after=N` to go on where a client left off."""

    async def connect(self) -> None:
        """Start to stream, or say why not."""
        await self.accept()
        order_id = uuid_or_none(self.scope["url_route"]["kwargs"]["order_id"])
        after = parse_qs(self.scope["query_string"].decode("latin-1")).get("after", ["0"])[0]
        if order_id is None:
            await self.refuse(UNKNOWN, body("not_found", "there is no such order"))
        elif not (after.isascii() and after.isdigit() and len(after) <= 9):
            await self.refuse(BAD_REQUEST, body("invalid", f"after={after[:40]!r} is not the seq of an event"))
        else:
            self.start(order_id, int(after))


class PlaceAndStream(EventStream):
    """`/api/orders/execute`: the first message places an order, whose events follow on the same socket."""

    placing = False
    deadline: "asyncio.TimerHandle | None" = None

    async def connect(self) -> None:
        """Wait for the order, but not for ever."""
        await self.accept()
        loop = asyncio.get_running_loop()
        self.deadline = loop.call_later(FIRST_MESSAGE_S, lambda: loop.create_task(self.give_up()))

    async def give_up(self) -> None:
        """Close a socket that never placed an order."""
        if not self.placing:
            await self.refuse(BAD_REQUEST, body("no_order", f"no order came within {FIRST_MESSAGE_S:.0f} s"))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Place the order the first message asks for."""
        if self.placing:
            await self.send(text_data=live.encode(body("one_order", "this socket has its order; open another for the next")))
            return
        self.placing = True
        try:
            asked = await parse(text_data if text_data is not None else bytes_data or b"")
            accepted = await gate().accept(asked)
        except Exception as reason:
            await self.refuse_order(reason)
            return
        self.start(accepted.order_id, 0)

    async def refuse_order(self, reason: Exception) -> None:
        """Say why the order was not accepted."""
        answer = describe(reason)
        if answer is None:
            log.error("order not accepted", exc_info=reason)
            answer = 500, body("internal", "the engine failed on this order; the log has the details")
        codes = {400: BAD_REQUEST, 409: CONFLICT, 503: UNAVAILABLE}
        await self.refuse(codes.get(answer[0], 1011), answer[1])

    async def disconnect(self, code: int) -> None:
        """Stop waiting and streaming."""
        if self.deadline:
            self.deadline.cancel()
        await super().disconnect(code)


async def parse(text: bytes | str) -> NewOrder:
    """Read an order as the HTTP door does.

    Raises Invalid.
    """
    return await aside(lambda: serializers.parse(loads(text)))
