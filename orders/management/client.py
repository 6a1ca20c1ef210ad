"""The API as any client outside sees it: HTTP to place, list, cancel and amend orders, a WebSocket to follow one.

Both connect directly, past any proxy in the environment: the engine is on this machine or in this network.
"""

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from django.conf import settings
from websockets.exceptions import ConnectionClosedOK, WebSocketException
from websockets.sync.client import ClientConnection, connect

from engine.events import moment
from engine.lifecycle import FINAL
from engine.orders import OrderType

ANSWER_TIMEOUT_S = 10.0
CANCEL_ALL_TIMEOUT_S = 60.0
OPEN_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0
WAIT_S = 0.5
BACKOFF_S = 0.1
BACKOFF_MAX_S = 2.0
MISSES_MAX = 10
MISSES_TOLD = 5
"""Misses in a row after which whoever waits is told: some 3 s, so that a restart of the engine passes unseen."""

INTERRUPTED = 130
"""Exit code of a program ended by Ctrl-C."""
PAST_LAST = 1000
"""The close code after an order's last event."""

ORDER = ("orderId", "type", "status", "seq", "result", "links")
"""Fields of an order that the commands read."""

NOT_RESTING, CHANGED = "not_resting", "changed"
"""Codes of refusals after which an order is looked at again."""

DURATION = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Json = dict[str, Any]


class Refused(Exception):
    """The engine did not do it, or cannot be asked; the message says why and what to do.

    `code` is the engine's word for it, empty when it was not the engine that refused.
    """

    def __init__(self, message: str, code: str = "", exit_code: int = 2) -> None:
        super().__init__(message)
        self.code, self.exit_code = code, exit_code


class Unfinished(Exception):
    """Time ran out before the order was final; the message gives the last trouble, if there was any."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An order of the engine and where to look at it; `answer` is what the engine said of it."""

    order_id: str
    type: str
    links: Mapping[str, str]
    answer: Mapping[str, Any]

    @property
    def waits(self) -> bool:
        """Tell whether it may rest for long before anything happens."""
        return self.type != OrderType.MARKET


def own_url() -> str:
    """Return the address of the engine on this machine."""
    host = settings.ENV["ENGINE_HOST"]
    # An address that means "every interface" can be listened on, not always connected to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.ENV['ENGINE_PORT']}"


def add_url(parser: argparse.ArgumentParser) -> None:
    """Declare --url."""
    parser.add_argument(
        "--url", type=base_url, default=own_url(), help="where the engine is (default: %(default)s)", metavar="URL"
    )


def base_url(text: str) -> str:
    """Read --url."""
    return text.rstrip("/")


def at(url: str) -> list[str]:
    """Return the words that make another command go to the same engine."""
    return [] if url == own_url() else ["--url", url]


def expiry(text: str) -> timedelta | str:
    """Read --expires: a duration from now, or a time, which the engine judges.

    Raises ArgumentTypeError for what is neither.
    """
    if found := DURATION.fullmatch(text):
        return timedelta(**{UNITS[found[2]]: int(found[1])})
    if not re.match(r"\d{4}-\d", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a duration such as 90s, 10m, 2h or 1d nor a time such as 2026-11-22T18:00:00Z"
        )
    return text


def expires_at(asked: timedelta | str, now: datetime) -> str:
    """Write an expiry as the API takes it."""
    return asked if isinstance(asked, str) else moment(int((now + asked).timestamp() * 1000))


def place(url: str, asked: Mapping[str, Any]) -> Placed:
    """Post an order.

    Raises Refused.
    """
    # Not sent again: without a client order id the engine could not tell the second from another order.
    doubt = (
        "the order may have been accepted.\n"
        f"Look at {url}/api/orders before you repeat it; with --client-order-id repeating is always safe."
    )
    answer = ask("POST", url, "/execute", needs=("orderId", "links"), doubt=doubt, json=asked)
    return Placed(answer["orderId"], asked["type"], answer["links"], answer)


def found(url: str, order_id: str) -> Placed:
    """Read an order as it stands.

    Raises Refused.
    """
    answer = ask("GET", url, f"/{order_id}", needs=ORDER, doubt="ask again.")
    return Placed(answer["orderId"], answer["type"], answer["links"], answer)


def listed(url: str, filters: Mapping[str, Any]) -> Json:
    """Read one page of orders, newest first.

    Raises Refused.
    """
    return ask("GET", url, "", needs=("next", "results"), doubt="ask again.", params=filters)


def cancel(url: str, order_id: str) -> Json:
    """Cancel a resting order.

    Raises Refused, with code NOT_RESTING when it rests no longer.
    """
    doubt = f"order {order_id} may have been cancelled; repeating is safe."
    return ask("DELETE", url, f"/{order_id}", needs=ORDER, doubt=doubt)


def cancel_all(url: str, filters: Mapping[str, str]) -> Json:
    """Cancel every resting order of a pair; say how many, and how many were lost to something else.

    Raises Refused.
    """
    needs, doubt = ("pair", "cancelled", "lost"), "some orders may have been cancelled; repeating is safe."
    return ask("DELETE", url, "", needs=needs, doubt=doubt, params=filters, timeout=CANCEL_ALL_TIMEOUT_S)


def amend(url: str, order_id: str, seq: int, changes: Mapping[str, Any]) -> Json:
    """Change a resting order whose last event is `seq`.

    Raises Refused, with code CHANGED when another event has come since, NOT_RESTING when it rests no longer.
    """
    doubt = f"order {order_id} may have been amended; look at it before you repeat it."
    return ask("PATCH", url, f"/{order_id}", needs=ORDER, doubt=doubt, json=changes, headers={"If-Match": f'"{seq}"'})


def ask(
    method: str,
    url: str,
    path: str,
    *,
    needs: tuple[str, ...],
    doubt: str,
    timeout: float = ANSWER_TIMEOUT_S,
    **more: Any,
) -> Json:
    """Send one request about orders; return the answer, which has the fields `needs`.

    `doubt` says what may be the case when the answer is lost.  Raises Refused.
    """
    try:
        answer = httpx.request(method, f"{url}/api/orders{path}", timeout=timeout, trust_env=False, **more)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol) as reason:
        raise Refused(
            f"cannot connect to {url}: {reason}\nIs `python3 manage.py up` running?  Is --url (or ENGINE_PORT) right?"
        ) from None
    except httpx.HTTPError as reason:
        raise Refused(f"the answer of {url} was lost ({reason!r}); {doubt}") from None
    except KeyboardInterrupt:
        raise Refused(f"interrupted before {url} answered; {doubt}", exit_code=INTERRUPTED) from None
    return read(url, answer, needs)


def read(url: str, answer: httpx.Response, needs: tuple[str, ...]) -> Json:
    """Read the engine's answer.

    Raises Refused.
    """
    try:
        body = answer.json()
        if not answer.is_success:
            raise Refused(refusal(body["error"]), body["error"]["code"])
        if isinstance(body, dict) and all(name in body for name in needs):
            return body
    except (ValueError, KeyError, TypeError):
        pass
    raise Refused(f"{url} answered {answer.status_code}, but not as this engine does; is --url right?")


def refusal(error: Mapping[str, Any]) -> str:
    """Write an error in the engine's one shape, with a line for each field."""
    lines = [f"{error['code']}: {error['message']}"]
    for field in error.get("fields", []):
        lines.append(f"  {field['field']}={field['value']!r}; accepted: {field['accepted']}")
    return "\n".join(lines)


def follow(
    link: str, deadline: float | None, *, after: int = 0, away: Callable[[str], object] = lambda trouble: None
) -> Iterator[Json]:
    """Yield each event past `after` once and in order until the final one; a dropped socket is taken up where it broke.

    `deadline` is on the monotonic clock, None for as long as it takes; `away` is told when the engine stays away.
    Raises Refused when the engine says so, Unfinished past the deadline.
    """
    seen, misses = after, 0
    while True:
        try:
            for event in listen(link, seen, deadline):
                seen, misses = event["seq"], 0
                yield event
                if event["status"] in FINAL:
                    return
        except (WebSocketException, OSError) as reason:
            if isinstance(reason, ConnectionClosedOK) and reason.rcvd and reason.rcvd.code == PAST_LAST:
                raise Refused(f"the engine has no event past {seen}, and says that none will come") from None
            wait = min(BACKOFF_MAX_S, BACKOFF_S * 2**misses)
            remaining = left(deadline, str(reason))
            time.sleep(wait if remaining is None else min(wait, remaining))
            misses = min(misses + 1, MISSES_MAX)
            if misses == MISSES_TOLD:
                away(str(reason))


def listen(link: str, seen: int, deadline: float | None) -> Iterator[Json]:
    """Yield the events past `seen` that one socket brings."""
    address = str(httpx.URL(link).copy_set_param("after", seen)) if seen else link
    remaining = left(deadline)
    timeout = OPEN_TIMEOUT_S if remaining is None else min(OPEN_TIMEOUT_S, remaining)
    with connect(address, open_timeout=timeout, close_timeout=CLOSE_TIMEOUT_S, proxy=None) as socket:
        while True:
            event = json.loads(message(socket, deadline))
            if "error" in event:
                raise Refused(refusal(event["error"]))
            # A server that repeats itself after a resumption is not our client's concern.
            if event["seq"] > seen:
                seen = event["seq"]
                yield event


def message(socket: ClientConnection, deadline: float | None) -> str | bytes:
    """Wait for the next message.

    In short waits: a Ctrl-C that falls between two instructions would only be noticed when the wait ends.
    """
    while True:
        remaining = left(deadline)
        with suppress(TimeoutError):
            return socket.recv(timeout=WAIT_S if remaining is None else min(WAIT_S, remaining))


def left(deadline: float | None, trouble: str = "") -> float | None:
    """Return the seconds left; None when there is no limit.

    Raises Unfinished when there are none.
    """
    if deadline is None:
        return None
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise Unfinished(trouble)
    return seconds
