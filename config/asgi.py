"""The ASGI application: a fast path for placing orders, Django for the rest of HTTP, Channels for WebSockets."""

# ruff: noqa: E402 - Django is set up before what needs it is imported

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.asgi import get_asgi_application

everything_else = get_asgi_application()

from channels.routing import URLRouter
from django.urls import re_path

from config.origins import OurOrigins
from orders.api import http, lanes, request_ids
from orders.api.bounds import BODY_WITHIN_S, Body, bounds
from orders.api.errors import Invalid, TooSlow
from orders.api.parsers import BODY_MAX
from orders.api.placing import DOORS, Placing
from orders.flow.batcher import Overloaded
from orders.flow.listening import listener
from orders.sockets.consumers import NoRoom, NoSuchSocket, OrderEvents, PlaceAndStream
from orders.sockets.feeds import OrdersFeed, QuoteFeed
from orders.telemetry import traces

Message = MutableMapping[str, Any]

FORM_MAX = 1024 * 1024
"""Maximum size of a body outside the API, in bytes: the admin's forms."""


django = lanes.in_lanes(cast(http.Application, everything_else))
placing = Placing(otherwise=django)
sockets = OurOrigins(
    URLRouter(
        [
            re_path(r"^ws/quotes/(?P<pair>[^/]+)/?$", QuoteFeed.as_asgi()),
            re_path(r"^ws/orders/?$", OrdersFeed.as_asgi()),
            re_path(r"^ws/(?P<order_id>[^/]+)/?$", OrderEvents.as_asgi()),
            re_path(r"^api/orders/execute/?$", PlaceAndStream.as_asgi()),
            re_path("", NoSuchSocket.as_asgi()),
        ]
    )
)
no_room = NoRoom.as_asgi()


async def application(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Serve one connection."""
    if scope["type"] == "http":
        await serve_http(scope, receive, send)
    elif scope["type"] == "websocket":
        await serve_socket(scope, receive, send)
    elif scope["type"] == "lifespan":
        await live(receive, send)
    else:
        raise ValueError(f"no such protocol here: {scope['type']}")


async def live(receive: Any, send: Any) -> None:
    """Handle the server's lifespan events; flush traces after its last request."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await asyncio.to_thread(traces.flush)
            await send({"type": "lifespan.shutdown.complete"})
            return


async def serve_http(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, with a size limit, before anything else does: Django would first spool all of it to disk."""
    listener().ensure_listening()
    send = request_ids.identified(scope, send)
    try:
        with bounds.request() as body:
            await serve_request(scope, await read_body(scope, receive, body), receive, send)
    except (Overloaded, Invalid, TooSlow) as reason:
        await http.refuse(send, reason)
    except Gone:
        return


async def serve_request(scope: Any, body: bytes, receive: Any, send: Any) -> None:
    """Serve a request whose body has been read."""
    again = replaying(body, receive)
    if scope["method"] != "POST":
        await django(scope, again, send)
    elif scope["path"] in DOORS:
        await traces.serve(scope, send, lambda send: placing(scope, body, again, send))
    else:
        await traces.serve(scope, send, lambda send: django(scope, again, send))


class Gone(Exception):
    """The client left before the end of its body; an incomplete order is not placed."""


async def read_body(scope: Any, receive: Any, body: Body) -> bytes:
    """Return the whole body.

    Raises Invalid, Gone, Overloaded, TooSlow.
    """
    limit = BODY_MAX if scope["path"].startswith("/api/") else FORM_MAX
    parts, more = [], True
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while more:
                message = await receive()
                parts.append(part_of(message, limit, body))
                more = message.get("more_body", False)
    except TimeoutError:
        raise TooSlow(f"the body did not arrive within {BODY_WITHIN_S:g} s") from None
    return b"".join(parts)


def part_of(message: Message, limit: int, body: Body) -> bytes:
    """Return the part of the body in a message.

    Raises Invalid as soon as the body exceeds the limit, Gone, Overloaded.
    """
    if message["type"] == "http.disconnect":
        raise Gone
    part: bytes = message.get("body", b"")
    body.grow(len(part))
    if body.size > limit:
        raise Invalid(f"the body is larger than {limit} bytes", code="too_large")
    return part


def replaying(body: bytes, receive: Any) -> Callable[[], Awaitable[Message]]:
    """Make a `receive` that yields the body already read, then the client's further messages."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def serve_socket(scope: Any, receive: Any, send: Any) -> None:
    """Serve a WebSocket, if there is room for it."""
    listener().ensure_listening()
    send = request_ids.identified(scope, send)
    with bounds.socket() as has_room:
        chosen = sockets if has_room else no_room
        await traces.serve(scope, send, lambda send: chosen(scope, receive, send))
