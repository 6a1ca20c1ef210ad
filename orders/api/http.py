"""HTTP as ASGI has it, for what is answered without Django."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from orders.api.errors import answer, headers_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

NONE: Mapping[str, str] = {}
ENCODER = msgspec.json.Encoder()


async def respond(send: Send, status: int, body: Any, more: Mapping[str, str] = NONE) -> None:
    """Send a JSON response."""
    payload = ENCODER.encode(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
    if status >= 400:
        more = {**headers_of(status, body), **more}
    headers += [(name.lower().encode(), value.encode()) for name, value in more.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


async def refuse(send: Send, reason: Exception) -> None:
    """Answer a failure."""
    await respond(send, *answer(reason))
