"""A socket that streams one order, read at the client's pace."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from tests.bearer import given
from tests.load.scenarios.story import Wrong

DONE = 1000
OPEN_S = 20.0
"""How long a handshake may take."""


@contextmanager
def opened(url: str) -> Iterator["Ear"]:
    """Open a socket for a while.

    Raises Wrong when it cannot be opened.
    """
    try:
        socket = connect(url, additional_headers=given(), open_timeout=OPEN_S, compression=None, proxy=None)
    except (OSError, WebSocketException) as reason:
        raise Wrong(f"{url} cannot be opened: {reason}") from reason
    with socket:
        yield Ear(url, socket)


class Ear:
    """One open socket."""

    def __init__(self, url: str, socket: ClientConnection) -> None:
        self.url = url
        self.socket = socket

    def say(self, message: Any) -> None:
        """Send a message.

        Raises Wrong.
        """
        try:
            self.socket.send(json.dumps(message))
        except ConnectionClosed as reason:
            raise self.wrong(f"closed with {code_of(reason)} before anything could be sent") from reason

    def next(self, within_s: float) -> str | None:
        """Return the next message; none once the engine has closed after the last.

        Raises Wrong when it closes otherwise, and TimeoutError when nothing came in time.
        """
        try:
            return str(self.socket.recv(timeout=within_s))
        except ConnectionClosed as reason:
            if code_of(reason) == DONE:
                return None
            raise self.wrong(f"closed with {code_of(reason)}") from reason

    def all(self, within_s: float) -> list[str]:
        """Return all messages up to the close.

        Raises Wrong.
        """
        found = []
        try:
            while (text := self.next(within_s)) is not None:
                found.append(text)
        except TimeoutError:
            raise self.wrong(f"nothing came for {within_s:g} s after {len(found)} messages") from None
        return found

    def wrong(self, what: str) -> Wrong:
        """Make a complaint about this socket."""
        return Wrong(f"socket {self.url}: {what}")


def code_of(closed: ConnectionClosed) -> int:
    """Return the close code the engine sent; 1006 when it sent none."""
    return closed.rcvd.code if closed.rcvd else 1006
