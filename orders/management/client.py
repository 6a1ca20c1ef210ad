"""The API as any client outside sees it: HTTP to place an order, a WebSocket to follow it.

Both connect directly, past any proxy in the environment: the engine is on this machine or in this network.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from engine.lifecycle import FINAL

POST_TIMEOUT_S = 10.0
OPEN_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0
BACKOFF_S = 0.1
BACKOFF_MAX_S = 2.0


class Refused(Exception):
    """No order came of it, or it cannot be followed; the message says why and what to do."""


class Unfinished(Exception):
    """Time ran out before the order was final; the message gives the last trouble, if there was any."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An accepted order and where to look at it."""

    order_id: str
    links: Mapping[str, str]


def place(url: str, asked: Mapping[str, Any]) -> Placed:
    """Post an order.

    Raises Refused.
    """
    try:
        answer = httpx.post(f"{url}/api/orders/execute", json=asked, timeout=POST_TIMEOUT_S, trust_env=False)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol) as reason:
        raise Refused(
            f"cannot connect to {url}: {reason}\nIs `python3 manage.py up` running?  Is --url (or ENGINE_PORT) right?"
        ) from None
    except httpx.HTTPError as reason:
        # Not sent again: without a client order id the engine could not tell the second from another order.
        raise Refused(
            f"the answer of {url} was lost ({reason!r}); the order may have been accepted.\n"
            f"Look at {url}/api/orders before you repeat it; with --client-order-id repeating is always safe."
        ) from None
    return accepted(url, answer)


def accepted(url: str, answer: httpx.Response) -> Placed:
    """Read the engine's answer.

    Raises Refused.
    """
    try:
        body = answer.json()
        if answer.is_success:
            return Placed(body["orderId"], body["links"])
        raise Refused(refusal(body["error"]))
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{url} answered {answer.status_code}, but not as this engine does; is --url right?") from None


def refusal(error: Mapping[str, Any]) -> str:
    """Write an error in the engine's one shape, with a line for each field."""
    lines = [f"{error['code']}: {error['message']}"]
    for field in error.get("fields", []):
        lines.append(f"  {field['field']}={field['value']!r}; accepted: {field['accepted']}")
    return "\n".join(lines)


def follow(link: str, deadline: float) -> Iterator[dict[str, Any]]:
    """Yield each event of an order once and in order until the final one; a dropped socket is taken up where it broke.

    `deadline` is on the monotonic clock.  Raises Refused when the engine says so, Unfinished past the deadline.
    """
    seen, misses = 0, 0
    while True:
        try:
            for event in listen(link, seen, deadline):
                seen, misses = event["seq"], 0
                yield event
                if event["status"] in FINAL:
                    return
        except (WebSocketException, OSError) as reason:
            wait = min(BACKOFF_MAX_S, BACKOFF_S * 2**misses)
            time.sleep(min(wait, left(deadline, str(reason))))
            misses = min(misses + 1, 10)


def listen(link: str, seen: int, deadline: float) -> Iterator[dict[str, Any]]:
    """Yield the events past `seen` that one socket brings."""
    address = str(httpx.URL(link).copy_set_param("after", seen)) if seen else link
    timeout = min(OPEN_TIMEOUT_S, left(deadline))
    with connect(address, open_timeout=timeout, close_timeout=CLOSE_TIMEOUT_S, proxy=None) as socket:
        while True:
            event = json.loads(socket.recv(timeout=left(deadline)))
            if "error" in event:
                raise Refused(refusal(event["error"]))
            # A server that repeats itself after a resumption is not our client's concern.
            if event["seq"] > seen:
                seen = event["seq"]
                yield event


def left(deadline: float, trouble: str = "") -> float:
    """Return the seconds left.

    Raises Unfinished when there are none.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise Unfinished(trouble)
    return seconds
