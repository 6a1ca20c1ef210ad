"""uvicorn's HTTP protocol, with an answer to every request that asks to go on in another protocol.

uvicorn 0.54 does not serve three of them:

- A WebSocket handshake that `websockets` cannot read: it has a body, more than 128 headers or a line above 8 KiB.
  uvicorn looks at what `websockets` answers to handshakes that it could read, and nothing is sent until the client or a
  time limit ends the connection.
- A request for another protocol, such as h2c, which Java's client makes by default, loses its body, and what else came
  with it is lost, too: the parser stops behind the head.  RFC 9110 has a server ignore a protocol it does not speak.
- What follows CONNECT, at which the parser stops alike.
"""

import sys
from typing import Any

from httptools import HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class UpgradingProtocol(HttpToolsProtocol):
    """Upgrades to WebSocket, refuses what is no handshake, and serves other requests without an upgrade."""

    def data_received(self, data: bytes) -> None:
        """Read all that came.  It may hold thousands of upgrades to ignore: a loop, for recursion would end."""
        self.unread: list[Any] = [data]
        while self.unread:
            self.reading = self.unread.pop()
            super().data_received(self.reading)
        self.reading = b""

    def _should_upgrade(self) -> bool:
        # uvicorn asks only about requests at which the parser stops: CONNECT, and those that are taken up below.
        return bool(self.scope["method"] != "CONNECT")

    def _unsupported_upgrade_warning(self) -> None:
        # The application answers CONNECT as any method; nothing behind it is read, so the connection ends with it.
        self.cycle.keep_alive = False

    def handle_websocket_upgrade(self) -> None:
        """Take up a request at whose head the parser has stopped."""
        if self._get_upgrade() == b"websocket":
            super().handle_websocket_upgrade()
            socket: Any = self.transport.get_protocol()
            if not socket.handshake_initiated:
                self.send_400_response("This is no WebSocket handshake: it has a body, or its head is too long.")
        else:
            self.ignore_upgrade()

    def ignore_upgrade(self) -> None:
        """Have the request read again without its header Upgrade, and with its body."""
        stopped = sys.exception()
        assert stopped is not None
        (at,) = stopped.args
        line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        headers = [b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self.unread += [memoryview(self.reading)[at:], b"\r\n".join([line, *headers, b"", b""])]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
