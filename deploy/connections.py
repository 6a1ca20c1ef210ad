"""Connections with limits: a client that stalls, drips or floods is not waited for, and keeps no memory.

uvicorn 0.54 has a time limit for idle connections alone, and each byte that comes ends it.  It keeps a head of any
length, parses whatever came in one packet before it serves the first of it, buffers pongs and answers without end for
who does not read them, and waits for ever to flush a connection that it has closed.
"""

import asyncio
import socket
import struct
from math import inf
from typing import Any

import structlog
from uvicorn import Config
from uvicorn import Server as Uvicorn
from uvicorn.server import ServerState

log = structlog.get_logger(__name__)

HEAD_WITHIN_S = 10.0
"""How long the head of a request may take to come in, and a new connection to begin with one."""
REST_WITHIN_S = 10.0
"""How long the rest of a body may take to come in when its request has been answered.  A body that is still asked for
has the application's limit, BODY_WITHIN_S."""
MESSAGE_WITHIN_S = 10.0
"""How long the fragments of a WebSocket message may take to come in."""
TAKEN_WITHIN_S = 20.0
"""How long a client may leave full what is buffered for it, and what is left of a closed connection."""
HEAD_MAX = 64 * 1024
"""Bytes of a head, or of trailers."""
WAITING_MAX = 2_000
"""Connections without a request in hand: new, between two requests, or in the middle of a head."""
PIPELINED_MAX = 8
"""Requests of one connection that are parsed while an earlier one is served."""
UNSENT_MAX = 32 * 1024 * 1024
"""Bytes in all that are buffered for clients that do not read."""
PART = 4 * 1024
"""Bytes that are parsed at a time: a few make a request or a message, which takes a hundred times their memory."""
TOGETHER_MAX = 16 * 1024
"""Bytes that wait for the end of a turn of the loop, to be sent together."""
EVERY_TICKS = 5
"""How many of uvicorn's ticks of 0.1 s lie between two looks at all connections."""

AT_ONCE = struct.pack("ii", 1, 0)


class State(ServerState):
    """What the connections of a server share."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[Limited, None] = {}
        """Connections without a request in hand, the longest first."""
        self.stalled: dict[Limited, None] = {}
        """Connections whose clients do not read, the longest first."""
        self.cut = 0
        """Connections closed to make room, since the last look."""


class Together:
    """A connection on which what is written in one turn of the loop goes out in one packet.

    uvicorn writes the head of an answer, its body and each frame by themselves, and uvloop sends at once what is
    written: a system call for each, here and at the client.
    """

    def __init__(self, transport: Any, loop: Any) -> None:
        self.transport = transport
        self.is_closing = transport.is_closing
        self.loop = loop
        self.unsent: list[bytes] = []
        self.size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        """Write soon; much goes at once, so that the writer hears when the client does not read."""
        if not self.unsent:
            self.loop.call_soon(self.flush)
        self.unsent.append(data)
        self.size += len(data)
        if self.size > TOGETHER_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what has come together; a connection that has ended takes no more."""
        data, self.unsent, self.size = b"".join(self.unsent), [], 0
        if data and not self.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """Close once all is written."""
        self.flush()
        self.transport.close()


class Limited:
    """What both protocols share: when something must have come in, and when something must have been taken."""

    transport: Any
    loop: Any
    server_state: State
    due = taken_by = inf

    def late(self, now: float) -> None:
        """End what did not come in time."""
        raise NotImplementedError

    def leave(self) -> None:
        """Tell the application that the client has gone: uvloop raises for what is written to a closed connection."""
        raise NotImplementedError

    def look(self, now: float) -> None:
        """Enforce the time limits."""
        if now > self.taken_by:
            self.abort()
        elif self.transport.is_closing():
            self.taken_by = min(self.taken_by, now + TAKEN_WITHIN_S)
        elif now > self.due:
            self.late(now)

    def stall(self) -> None:
        """Have the client take what is buffered in time, and those who stalled first make room for it."""
        self.taken_by = self.loop.time() + TAKEN_WITHIN_S
        stalled = self.server_state.stalled
        stalled[self] = None
        unsent = sum(one.transport.get_write_buffer_size() for one in stalled)
        while unsent > UNSENT_MAX:
            first = next(iter(stalled))
            unsent -= first.transport.get_write_buffer_size()
            first.abort()
            self.server_state.cut += 1

    def flow_again(self) -> None:
        """Forget that the client stalled."""
        self.taken_by = inf
        self.server_state.stalled.pop(self, None)

    def abort(self) -> None:
        """End the connection with all that was not taken, in the kernel, too, which would try for minutes."""
        self.server_state.stalled.pop(self, None)
        self.leave()
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self.transport.abort()


class Server(Uvicorn):
    """uvicorn, which looks at its connections twice a second."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.server_state: State = State()

    async def on_tick(self, counter: int) -> bool:
        if counter % EVERY_TICKS == 0:
            self.look()
        return await super().on_tick(counter)

    def look(self) -> None:
        """Enforce the time limits of all connections, and log what had to make room."""
        now = asyncio.get_running_loop().time()
        for one in tuple(self.server_state.connections):
            if isinstance(one, Limited):
                one.look(now)
        if self.server_state.cut:
            log.warning("connections closed to make room", count=self.server_state.cut)
            self.server_state.cut = 0
