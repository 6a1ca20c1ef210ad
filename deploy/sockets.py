"""A WebSocket with limits."""

from math import inf
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from deploy.connections import MESSAGE_WITHIN_S, PART, Limited, State


class Socket(WebSocketsSansIOProtocol, Limited):
    """A WebSocket."""

    kept = b""
    """What came and is not yet parsed."""

    def __init__(self, config: Any, server_state: State, app_state: Any, _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.server_state = server_state

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.stalled.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.kept += data
        self.feed()

    def feed(self) -> None:
        """Parse some of what came, unless the application has a message to take or the client something to read.

        Only some in a turn of the loop: a client that sends as fast as it can shares the process with all others.
        """
        if self.kept and self.is_ready() and not self.transport.is_closing():
            part, self.kept = self.kept[:PART], self.kept[PART:]
            super().data_received(part)
            if self.kept and self.is_ready():
                self.loop.call_soon(self.feed)
        if self.frames and self.due == inf:
            self.due = self.loop.time() + MESSAGE_WITHIN_S
        self.regulate()

    def is_ready(self) -> bool:
        """Tell whether more can be parsed; frames that come before the handshake is answered wait for that."""
        return not self.read_paused and self.writable.is_set() and self.handshake_complete >= self.handshake_initiated

    def regulate(self) -> None:
        """Read on when all that came is parsed, and the application and the client have taken theirs."""
        if self.transport.is_closing():
            self.kept = b""
        elif self.kept or self.read_paused or not self.writable.is_set():
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.kept:
            self.feed()

    async def receive(self) -> Any:
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self.feed()
        return message

    def send_receive_event_to_app(self) -> None:
        """Hand over a message; one that is not UTF-8 ends the socket, without the traceback that uvicorn logs."""
        self.due = inf
        if self.curr_msg_data_type == "text" and not is_utf8(b"".join(self.frames)):
            self.frames = []
            self.fail(1007, "the message is not UTF-8")
        else:
            super().send_receive_event_to_app()

    def late(self, now: float) -> None:
        """End a socket whose message does not come."""
        self.due = inf
        self.fail(1008, f"the message did not come within {MESSAGE_WITHIN_S:g} s")

    def leave(self) -> None:
        self.disconnected = True

    def fail(self, code: int, why: str) -> None:
        """Close at once, with the reason."""
        self.conn.fail(code, why)
        if self.conn.close_sent is not None:
            self.handle_parser_exception()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stall()
        self.regulate()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.flow_again()
        self.feed()


def is_utf8(data: bytes) -> bool:
    """Tell whether a text can be read."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
