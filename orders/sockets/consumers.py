"""WebSocket consumers that stream an order's events, and that place orders over the socket."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import parse_qs

import structlog
from channels.generic.websocket import AsyncWebsocketConsumer
from django.http import QueryDict

from engine.cursor import Cursor
from orders.access.callers import Caller, Forbidden, Scope, Unauthorized
from orders.access.keys import SEND_A_KEY
from orders.access.limits import TooManySockets
from orders.api import placing
from orders.api.cursors import cursor
from orders.api.errors import Invalid, answer, body, describe
from orders.api.filters import refuse_unknown
from orders.api.serializers import IDEMPOTENCY_KEY
from orders.sockets import handshake
from orders.sockets.closing import BAD_REQUEST, CODES, DONE, FAILED, UNAVAILABLE, UNKNOWN, reason_of
from orders.sockets.doorkeeper import doorkeeper
from orders.sockets.tail import UnknownOrder, tail
from orders.stores import event_codec
from orders.stores.order_view import START, uuid_or_none
from orders.telemetry import metrics

log = structlog.get_logger(__name__)

FIRST_MESSAGE_S = 30.0
"""How long a socket may be open without placing its order."""


class EventStream(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Streams one order's events and closes after the last."""

    needs = Scope.READ
    caller: Caller | None = None
    """Who opened the socket, once that is known."""

    # Events come from the tail; a channel would cost a Redis subscription per socket.
    channel_layer_alias = ""
    beside: "asyncio.Task[None] | None" = None
    """The background task while the socket listens: waiting for the order, or streaming its events."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one socket, counted by its class.

        Channels' own loop makes a task for each message and goes to a thread at each, to close database connections.
        These consumers have none: what reads a store does so on threads that see to theirs.
        """
        self.scope, self.base_send, self.channel_layer = scope, send, None
        with metrics.socket(type(self).__name__), doorkeeper().watching(self):
            while (message := await receive())["type"] != "websocket.disconnect":
                await self.handlers[message["type"]](self, message)
            await self.disconnect(message["code"])

    handlers: Mapping[str, Callable[["EventStream", Any], Awaitable[None]]] = {
        "websocket.connect": AsyncWebsocketConsumer.websocket_connect,
        "websocket.receive": AsyncWebsocketConsumer.websocket_receive,
    }

    @property
    def following(self) -> int:
        """Return how many orders it follows at its client's request; see /ws/orders."""
        return 0

    async def connect(self) -> None:
        """Accept the socket, and begin once its caller is known; without credentials, wait for a ticket."""
        await self.accept(handshake.subprotocol(self.scope))
        try:
            self.caller = await handshake.caller(self.scope)
        except Exception as reason:
            await self.turn_away(reason)
            return
        if self.caller is None:
            self.start(self.turn_away_after(handshake.TICKET_WITHIN_S))
        else:
            await self.enter(self.caller)

    async def enter(self, caller: Caller) -> None:
        """Begin, if the caller may."""
        try:
            caller.require(self.needs)
            doorkeeper().admit(self)
        except (Forbidden, TooManySockets) as reason:
            await self.turn_away(reason)
            return
        await self.begin()

    async def begin(self) -> None:
        """Do what the socket is for; its caller is known and may."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take the ticket of a caller who is not known yet, and any other message."""
        text = text_data if text_data is not None else bytes_data or b""
        if self.caller is not None:
            await self.hear(text)
            return
        self.stop()
        try:
            self.caller = await handshake.by_message(text)
        except Exception as reason:
            await self.turn_away(reason)
            return
        await self.enter(self.caller)

    async def hear(self, text: str | bytes) -> None:
        """Take a message; a socket that only streams ignores them."""

    async def turn_away_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.turn_away(Unauthorized(f"no ticket came within {seconds:g} s; {SEND_A_KEY}"))

    async def turn_away(self, reason: Exception) -> None:
        """Close a socket whose caller is unknown, may not, or has lost the right."""
        self.stop()
        status, error = answer(reason)
        await self.refuse(CODES.get(status, FAILED), error)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` as the background task, replacing the current one."""
        self.stop()
        self.beside = asyncio.create_task(work)

    def stop(self) -> None:
        """Cancel the background task."""
        if self.beside and self.beside is not asyncio.current_task():
            self.beside.cancel()

    async def stream(self, order_id: str, after: Cursor) -> None:
        """Send every event past `after`, then close."""
        structlog.contextvars.bind_contextvars(order_id=order_id)
        try:
            async with aclosing(tail().follow(order_id, self.sees, after)) as events:
                async for event in events:
                    await self.send(text_data=event)
        except UnknownOrder:
            await self.refuse(UNKNOWN, body("not_found", f"there is no order {order_id}"))
        except Exception as reason:
            await self.break_off(reason)
        else:
            await self.leave(DONE)

    def sees(self, owner: int | None) -> bool:
        """Tell whether this account's orders exist for the caller."""
        return self.caller is not None and self.caller.sees(owner)

    async def break_off(self, reason: Exception) -> None:
        """Close a stream that failed; the client can resume with `?after=`."""
        expected = describe(reason)
        if expected:
            log.warning("stream aborted", reason=repr(reason))
            await self.refuse(CODES.get(expected[0], FAILED), expected[1])
        elif isinstance(reason, OSError | RuntimeError):
            log.info("client disconnected mid-stream", reason=repr(reason))
        else:
            log.error("stream failed", exc_info=reason)
            await self.leave(FAILED)

    async def refuse(self, code: int, error: dict[str, Any]) -> None:
        """Send an error in the API's common shape, and close."""
        with suppress(OSError, RuntimeError):
            await self.send(text_data=event_codec.dump(error))
        await self.leave(code, error)

    async def leave(self, code: int, error: dict[str, Any] | None = None) -> None:
        """Close, with the reason. Errors are ignored: the client may be gone already."""
        with suppress(OSError, RuntimeError):
            await self.close(code, reason_of(code, error))

    async def disconnect(self, code: int) -> None:
        self.stop()


class OrderEvents(EventStream):
    """`/ws/{orderId}`; `?after=N&epoch=E` resumes after the last event a client saw."""

    async def begin(self) -> None:
        """Start streaming, or refuse with the reason."""
        order_id = uuid_or_none(self.scope["url_route"]["kwargs"]["order_id"])
        query = parse_qs(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        try:
            after = cursor(query.get("after", ["0"])[-1], query.get("epoch", [None])[-1])
        except Invalid as reason:
            await self.refuse(BAD_REQUEST, body(reason.code, reason.message, reason.fields))
            return
        if order_id is None:
            await self.refuse(UNKNOWN, body("not_found", "there is no such order"))
        else:
            self.start(self.stream(order_id, after))


class PlaceAndStream(EventStream):
    """`/api/orders/execute`: the first message places an order, whose events follow on the same socket."""

    needs = Scope.TRADE
    placing = False

    async def begin(self) -> None:
        """Wait for the order, at most FIRST_MESSAGE_S."""
        self.start(self.give_up(FIRST_MESSAGE_S))

    async def give_up(self, after_s: float) -> None:
        """Close a socket on which no order was placed in time."""
        await asyncio.sleep(after_s)
        await self.refuse(BAD_REQUEST, body("no_order", f"no order came within {after_s:g} s"))

    async def hear(self, text: str | bytes) -> None:
        """Place the order in the first message; answer further messages with an error."""
        if self.placing:
            with suppress(OSError, RuntimeError):
                await self.send(text_data=event_codec.dump(ONE_ORDER))
            return
        self.placing = True
        self.stop()
        try:
            refuse_unknown(QueryDict(self.scope["query_string"]), ())
            assert self.caller
            accepted = await placing.accepted(text, self.key, self.caller)
        except Exception as reason:
            status, error = answer(reason)
            await self.refuse(CODES.get(status, FAILED), error)
            return
        self.start(self.stream(accepted.order_id, START))

    @property
    def key(self) -> str | None:
        """Return the Idempotency-Key of the handshake."""
        found = [value for name, value in self.scope["headers"] if name == IDEMPOTENCY_KEY.lower().encode()]
        return b",".join(found).decode("latin-1") if found else None


class NoRoom(EventStream):
    """A socket beyond the limit: closed after an error that tells the client to retry."""

    async def connect(self) -> None:
        await self.accept()
        await self.refuse(UNAVAILABLE, TOO_MANY)


class NoSuchSocket(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Any other address: refused at the handshake."""

    channel_layer_alias = ""

    async def connect(self) -> None:
        """Close before accepting."""
        await self.close(UNKNOWN)


TOO_MANY = body("overloaded", "more sockets are open than this server can keep; try again in a second")
ONE_ORDER = body("one_order", "this socket has its order; open another for the next")
