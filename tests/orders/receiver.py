"""A receiver of webhooks: a real HTTP server, and a check of signatures written from the specification alone."""

import base64
import hashlib
import hmac
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What came, and how it is answered: by `status`, or by the next of `statuses`; `held` keeps answers back.

    Every so many calls it answers 500 or not at all; `kept` is what it has answered with 2xx.
    """

    port: int = 0
    status: int = 204
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    held: threading.Event | None = None
    refuses_every: int = 0
    hangs_every: int = 0
    kept: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events?token=x"

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.calls]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event that came, in sequence, repeated ones too."""
        return [event for message in self.messages for event in message["events"]]

    def seqs(self) -> dict[str, list[int]]:
        """The sequence numbers that came, by order."""
        found: dict[str, list[int]] = {}
        for event in self.events:
            found.setdefault(event["orderId"], []).append(event["seq"])
        return found

    def handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                call = ({name.lower(): value for name, value in self.headers.items()}, body)
                receiver.calls.append(call)
                number = len(receiver.calls)
                if receiver.held:
                    receiver.held.wait(20)
                if receiver.hangs_every and number % receiver.hangs_every == 0:
                    receiver.ended.wait(20)
                    return
                status = receiver.statuses.pop(0) if receiver.statuses else receiver.status
                if receiver.refuses_every and number % receiver.refuses_every == 0:
                    status = 500
                if 200 <= status < 300:
                    receiver.kept.append(call)
                self.send_response(status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                receiver.calls.append(({}, b"{}"))

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@contextmanager
def receiving(port: int = 0, **answers: Any):
    """Receive for a while; on the given port, or a free one."""
    receiver = Receiver(**answers)
    server = ThreadingHTTPServer(("127.0.0.1", port), receiver.handler())
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def signatures(secret: str, headers: dict[str, str], body: bytes) -> list[bool]:
    """Tell of each signature of a message whether this secret made it."""
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    text = headers["webhook-id"].encode() + b"." + headers["webhook-timestamp"].encode() + b"." + body
    made = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return [one == f"v1,{made}" for one in headers["webhook-signature"].split(" ")]
