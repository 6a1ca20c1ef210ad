"""Clients that stall: each opens one connection, keeps the engine waiting in its own way, and tells how it ended."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

HOST = b"Host: localhost\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
HANDSHAKE = HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + KEY
JSON = b"Content-Type: application/json\r\n"
PLACE = b"POST /api/orders/execute HTTP/1.1\r\n" + HOST + JSON
READ = b"GET /api/pairs HTTP/1.1\r\n" + HOST + b"\r\n"
FORM = b"POST /admin/login/ HTTP/1.1\r\n" + HOST + b"Content-Type: application/x-www-form-urlencoded\r\n"
DRIP_S = 0.5
SMALL = 4096
"""Bytes the kernel keeps for a client that does not read: the less, the sooner the server notices."""

DRAINED_S = 3.0
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
PING = re.compile(rb"\x89\x04(....)", re.DOTALL)
CLOSE = re.compile(rb"\x88[\x02-\x7d](..)", re.DOTALL)

Stall = Callable[["Line"], Awaitable[None]]


class Line:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.received = b""
        """The end of what came."""
        self.listens = False

    async def send(self, data: bytes) -> None:
        """Send, and wait until the kernel has it."""
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes, size: int = 1) -> None:
        """Send these bytes over and over, so many at a time."""
        while True:
            for at in range(0, len(data), size):
                await self.send(data[at : at + size])
                await asyncio.sleep(DRIP_S)

    async def flood(self, data: bytes) -> None:
        """Send these bytes over and over, as fast as they are taken, and read nothing."""
        while True:
            await self.send(data)

    async def open_socket(self, path: bytes) -> None:
        """Make a WebSocket of the connection."""
        await self.send(b"GET " + path + b" HTTP/1.1\r\n" + HANDSHAKE + b"\r\n")
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head

    async def leave_unread(self) -> None:
        """Read nothing until the server breaks the connection."""
        while not self.writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            await asyncio.sleep(DRIP_S / 5)

    async def listen(self, meanwhile: Coroutine[Any, Any, None] | None = None) -> None:
        """Read until the server closes, and answer its pings, as every client does."""
        self.listens = True
        task = asyncio.create_task(meanwhile) if meanwhile else None
        try:
            while data := await self.reader.read(SMALL):
                self.received = (self.received + data)[-SMALL:]
                for ping in PING.findall(data):
                    await self.send(frame(10, ping))
        finally:
            if task:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def told(self) -> str:
        """Return the status of the last answer, or the code of the close frame, if there was one."""
        if found := STATUS.findall(self.received):
            return found[-1].decode()
        if found := CLOSE.findall(self.received[-130:]):
            return str(int.from_bytes(found[-1]))
        return "closed"


def frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = True) -> bytes:
    """Build a frame as a client sends it, with a mask that changes nothing."""
    first, mask = (0x80 if final else 0) | opcode, 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, mask | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, mask | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask | 127, size)
    return head + (bytes(4) if masked else b"") + payload


async def nothing(line: Line) -> None:
    """Connect, and no more."""
    await line.listen()


async def slow_head(line: Line) -> None:
    await line.send(b"GET /api/pairs HTTP/1.1\r\n" + HOST)
    await line.listen(line.drip(b"X-Drip: 1\r\n"))


async def endless_head(line: Line) -> None:
    await line.send(b"GET /api/pairs HTTP/1.1\r\n" + HOST)
    await line.listen(line.flood(b"X-Flood: " + b"x" * 1000 + b"\r\n"))


async def half_handshake(line: Line) -> None:
    await line.send(b"GET /ws/orders HTTP/1.1\r\n" + HANDSHAKE)
    await line.listen()


async def no_body(line: Line) -> None:
    await line.send(PLACE + b"Content-Length: 100\r\n\r\n")
    await line.listen()


async def no_body_elsewhere(line: Line) -> None:
    await line.send(FORM + b"Content-Length: 100\r\n\r\n")
    await line.listen()


async def slow_body(line: Line) -> None:
    await line.send(PLACE + b"Content-Length: 60000\r\n\r\n")
    await line.listen(line.drip(b" "))


async def slow_form(line: Line) -> None:
    await line.send(FORM + b"Content-Length: 60000\r\n\r\n")
    await line.listen(line.drip(b"a"))


async def slow_rest(line: Line) -> None:
    """Have been refused long ago, and still send the body."""
    await line.send(PLACE + b"Content-Length: 9000000\r\n\r\n" + b" " * 70_000)
    await line.listen(line.drip(b" "))


async def slow_chunks(line: Line) -> None:
    await line.send(PLACE + b"Transfer-Encoding: chunked\r\n\r\n")
    await line.listen(line.drip(b"1\r\n \r\n"))


async def endless_trailer(line: Line) -> None:
    await line.send(PLACE + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n")
    await line.listen(line.flood(b"X-Flood: " + b"x" * 1000 + b"\r\n"))


async def second_head(line: Line) -> None:
    """Be served once, and never finish asking again."""
    await line.send(READ + b"GET /api")
    await line.listen()


async def idle(line: Line) -> None:
    """Be served once, and keep the connection."""
    await line.send(READ)
    await line.listen()


async def unread_answers(line: Line) -> None:
    await line.flood(READ)


async def unread_pongs(line: Line) -> None:
    await line.open_socket(b"/ws/orders")
    await line.flood(frame(9, b"x" * 125) * 100)


async def unread_messages(line: Line) -> None:
    await line.open_socket(b"/ws/orders")
    await line.flood(frame(1, b'{"follow":[]}') * 100)


async def unread_stream(line: Line) -> None:
    """Listen to a market that goes on, without reading."""
    await line.open_socket(b"/ws/quotes/SOL-USDC")
    await line.leave_unread()


async def slow_message(line: Line) -> None:
    """Send a message in fragments that never end."""
    await line.open_socket(b"/ws/orders")
    await line.send(frame(1, b"{", final=False))
    await line.listen(line.drip(frame(0, b"", final=False), size=6))


async def slow_frame(line: Line) -> None:
    await line.open_socket(b"/ws/orders")
    await line.send(struct.pack("!BBH", 0x81, 0x80 | 126, 60_000) + bytes(4))
    await line.listen(line.drip(b" "))


@dataclass(frozen=True)
class End:
    """How a stalled connection ended: the last status or close code, `closed` without, or `open`; after how long."""

    how: str
    after_s: float


STALLS: dict[str, Stall] = {
    stall.__name__.replace("_", " "): stall
    for stall in (
        *(nothing, slow_head, endless_head, half_handshake, no_body, no_body_elsewhere, slow_body, slow_form),
        *(slow_rest, slow_chunks, endless_trailer, second_head, idle, unread_answers, unread_pongs),
        *(unread_messages, unread_stream, slow_message, slow_frame),
    )
}


@asynccontextmanager
async def connected(host: str, port: int) -> AsyncIterator[Line]:
    """Have a connection with little room for what is not read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (host, port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=SMALL)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


async def ended(stall: Stall, host: str, port: int, within_s: float) -> End:
    """Stall, and wait for the end."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with connected(host, port) as line:
        try:
            async with asyncio.timeout(within_s):
                await stall(line)
            how = line.told()
        except ConnectionError:
            how = line.told()
        except TimeoutError:
            how = "open" if line.listens or not await is_over(line) else "closed"
    return End(how, loop.time() - begun)


async def is_over(line: Line) -> bool:
    """Tell whether the server has closed a connection on which nobody read: what is left of it has an end."""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(DRAINED_S):
            while await line.reader.read(1 << 20):
                pass
            return True
    return line.reader.exception() is not None
