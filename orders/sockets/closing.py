"""Why a socket closes, by its code."""

from collections.abc import Mapping
from typing import Any

DONE = 1000
FAILED = 1011
UNAVAILABLE = 1013
BAD_REQUEST = 4400
UNAUTHORIZED = 4401
FORBIDDEN = 4403
UNKNOWN = 4404
CONFLICT = 4409
REJECTED = 4422
LIMITED = 4429
CODES = {
    400: BAD_REQUEST,
    401: UNAUTHORIZED,
    403: FORBIDDEN,
    409: CONFLICT,
    422: REJECTED,
    429: LIMITED,
    503: UNAVAILABLE,
}
"""Close codes by the HTTP status of the same refusal."""

RESTARTING = 1012
"""The ASGI server's own close code."""
CLOSES = {
    DONE: "the last event has been sent",
    FAILED: "the engine failed; its log has the details",
    RESTARTING: "the server stops or is replaced; reconnect with ?after= and &epoch=",
    UNAVAILABLE: "a store does not answer, the engine is overloaded, or trading is paused or halted; reconnect, with "
    "?after= and &epoch= if the order is known",
    BAD_REQUEST: "the request is wrong; the preceding error says why",
    UNAUTHORIZED: "no API key, session or ticket, or one that does not hold, or no longer",
    FORBIDDEN: "the key lacks the scope that this socket needs",
    UNKNOWN: "there is no such order or pair",
    CONFLICT: "the clientOrderId belongs to another order",
    REJECTED: "the order is beyond a trading limit; the preceding error says which",
    LIMITED: "a limit of the key is reached; the preceding error says which",
}
"""The meaning of each close code."""
REASON_MAX = 123
"""Bytes of a close frame's reason, by RFC 6455, 5.5."""


def reason_of(code: int, error: Mapping[str, Any] | None = None) -> str:
    """Return the reason that goes with a close: the code and message of the error, or what the close code means."""
    said = "{code}: {message}".format(**error["error"]) if error else CLOSES.get(code, "")
    return said.encode()[:REASON_MAX].decode(errors="ignore")
