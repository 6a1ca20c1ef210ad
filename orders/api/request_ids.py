"""Each request's id: the client's own or a new one, in the answer's headers and on every line logged meanwhile.

Beside it the headers name the version of the API.
"""

import re
from secrets import token_hex
from typing import Any

from django.conf import settings

from orders.api.http import Scope, Send
from orders.telemetry.log_fields import request_id

HEADER = b"x-request-id"
VERSION = (b"api-version", str(settings.SPECTACULAR_SETTINGS["VERSION"]).encode())
PATTERN = "^[A-Za-z0-9._-]{1,64}$"
SANE = re.compile(rb"[A-Za-z0-9._-]{1,64}")
ANSWERS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
"""The messages that carry the headers of an answer."""


def identified(scope: Scope, send: Send) -> Send:
    """Name the request for the log; return a `send` that puts its id into the answer."""
    name = given(scope) or token_hex(12).encode()
    request_id.set(name.decode())

    async def telling(message: Any) -> None:
        if message["type"] in ANSWERS:
            message["headers"] = [*message.get("headers", ()), (HEADER, name), VERSION]
        await send(message)

    return telling


def given(scope: Scope) -> bytes | None:
    """Return the id that the client sent, if it is fit to be logged and sent back."""
    for name, value in scope["headers"]:
        if name == HEADER:
            return bytes(value) if SANE.fullmatch(value) else None
    return None
