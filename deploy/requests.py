"""An HTTP connection with limits."""

from http import HTTPStatus
from math import inf
from typing import Any
from weakref import proxy

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from deploy.connections import (
    HEAD_MAX,
    HEAD_WITHIN_S,
    PART,
    PIPELINED_MAX,
    REST_WITHIN_S,
    WAITING_MAX,
    Limited,
    State,
    Together,
)
from deploy.upgrades import UpgradingProtocol


class Flow(FlowControl):
    """Reads no further while something that was read is kept."""

    def __init__(self, transport: Any, requests: "Requests") -> None:
        super().__init__(transport)
        # Weak, so that a connection that has ended leaves no cycle, whose memory would stay until a full collection.
        self.requests = proxy(requests)

    def resume_reading(self) -> None:
        """Read on, unless what came last is not yet parsed or the connection is at its end."""
        if not self._transport.is_closing() and not self.requests.kept:
            super().resume_reading()


class Requests(UpgradingProtocol, Limited):
    """An HTTP connection."""

    server_state: State
    kept = b""
    """What came and is not yet parsed."""
    size = 0
    """Bytes that came since something was complete: a head, a part of a body, a request."""
    serving: Any = None
    """The request that the application has, or had last."""
    comes: str | None = None
    """What is coming in: `head` or `rest`."""
    timed: str | None = None
    """What `due` stands for."""

    def connection_made(self, transport: Any) -> None:
        transport = Together(transport, self.loop)
        super().connection_made(transport)
        self.flow = Flow(transport, self)
        self.due = self.loop.time() + HEAD_WITHIN_S
        self.wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.waiting.pop(self, None)
        self.server_state.stalled.pop(self, None)
        self.leave()
        super().connection_lost(exc)

    def wait(self) -> None:
        """Join the connections without a request in hand; of too many the first goes."""
        waiting = self.server_state.waiting
        waiting[self] = None
        if len(waiting) > WAITING_MAX:
            first = next(iter(waiting))
            del waiting[first]
            self.server_state.cut += 1
            first.transport.close()

    def data_received(self, data: bytes) -> None:
        self.kept += data
        self.feed()

    def feed(self) -> None:
        """Parse what came, as far as requests can be served soon."""
        transport = self.transport
        while self.kept and len(self.pipeline) < PIPELINED_MAX and not transport.is_closing():
            part, self.kept = self.kept[:PART], self.kept[PART:]
            self.size += len(part)
            super().data_received(part)
            if transport.get_protocol() is not self:
                return
            if self.size > HEAD_MAX:
                self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The head is larger than {HEAD_MAX} bytes.")
        if self.kept:
            self.flow.pause_reading()
        self.expect()

    def expect(self) -> None:
        """Set the time limit for what is coming in; what has one keeps it."""
        coming = self.comes or ("head" if self in self.server_state.waiting else None)
        if coming and coming != self.timed:
            self.timed = coming
            self.due = self.loop.time() + (HEAD_WITHIN_S if coming == "head" else REST_WITHIN_S)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.comes = "head"

    def on_headers_complete(self) -> None:
        self.size, self.comes = 0, "rest"
        self.server_state.waiting.pop(self, None)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.size = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.size, self.comes, self.timed, self.due = 0, None, None, inf
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            if not self.pipeline and self.cycle.response_complete:
                self.wait()
            if self.kept:
                self.feed()
                self.flow.resume_reading()

    def late(self, now: float) -> None:
        """Say that a head has not come; what is still served is answered first."""
        if self.cycle and not self.cycle.response_complete:
            self.due = now + HEAD_WITHIN_S
        elif self.comes == "head":
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, f"The request did not come within {HEAD_WITHIN_S:g} s.")
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self.refuse(HTTPStatus.BAD_REQUEST, msg)

    def refuse(self, status: HTTPStatus, why: str) -> None:
        """Answer a request that cannot be read, and close; requests before it are answered first."""
        self.kept, self.due, cycle = b"", inf, self.cycle
        if cycle and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            return
        if cycle is None or cycle.response_complete or not (cycle.response_started or self.pipeline):
            head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            dated = [b"%s: %s\r\n" % header for header in self.server_state.default_headers]
            self.transport.write(b"".join([STATUS_LINE[status], *dated, head % len(why), why.encode()]))
        self.leave()
        self.transport.close()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.serving = cycle
        super()._start_asgi_task(cycle, app)

    def leave(self) -> None:
        """uvicorn tells only the last of several requests in a row, which may not have begun."""
        if self.serving and not self.serving.response_complete:
            self.serving.disconnected = True
            self.serving.message_event.set()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stall()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.flow_again()
