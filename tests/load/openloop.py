"""Requests at a fixed rate, whatever becomes of them: an open loop, which does not wait for a server that is slow.

A client that waits for each answer before it asks again slows down with the server and measures nothing but itself.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httptools

CONNECTIONS_MAX = 4_000
"""Connections open at once; a request that finds none free is one the generator could not send."""
ANSWER_S = 30.0
"""How long an answer is waited for."""


@dataclass
class Answered:
    """One request and what came of it; `status` 0 for none."""

    due: float
    sent: float
    took_s: float
    status: int
    retry_after: str | None
    body: bytes


@dataclass
class Sent:
    """What a run came to: answers, requests that could not be sent, and how late those were that were."""

    answers: list[Answered] = field(default_factory=list)
    unsent: int = 0
    seconds: float = 0.0

    @property
    def achieved(self) -> float:
        """Return the rate at which requests really left."""
        return len(self.answers) / self.seconds if self.seconds else 0.0

    @property
    def late_s(self) -> list[float]:
        """Return how long after they were due requests left, sorted."""
        return sorted(answer.sent - answer.due for answer in self.answers)


class Line(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[int, str | None, bytes]] | None = None
        self.transport: asyncio.Transport | None = None
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, str | None, bytes]]":
        """Send a request; the future brings status, Retry-After and body."""
        assert self.transport is not None
        self.parser, self.body, self.retry_after = httptools.HttpResponseParser(self), b"", None
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answer

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self.retry_after = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.answer and not self.answer.done():
            self.answer.set_result((self.parser.get_status_code(), self.retry_after, self.body))
        if not self.parser.should_keep_alive():
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.closed = True
        if self.answer and not self.answer.done():
            self.answer.set_exception(ConnectionError("closed before the answer"))

    def close(self) -> None:
        """Use it no more."""
        self.closed = True
        if self.transport:
            self.transport.close()


class Generator:
    """Sends the same POST at a rate."""

    def __init__(self, host: str, port: int, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.host, self.port = host, port
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self.free: deque[Line] = deque()
        self.open = 0

    async def run(self, rate: float, seconds: float) -> Sent:
        """Send for so long, then wait for what is still to be answered."""
        found, tasks, began = Sent(), set(), time.monotonic()
        for number in range(round(rate * seconds)):
            due = began + number / rate
            if (ahead := due - time.monotonic()) > 0.001:
                await asyncio.sleep(ahead)
            elif number % 20 == 0:
                # Behind, it must still hear what comes.
                await asyncio.sleep(0)
            if time.monotonic() > began + seconds:
                found.unsent += round(rate * seconds) - number
                break
            if not self.free and self.open >= CONNECTIONS_MAX:
                found.unsent += 1
                continue
            tasks.add(task := asyncio.create_task(self.one(due, found)))
            task.add_done_callback(tasks.discard)
        found.seconds = time.monotonic() - began
        while tasks:
            await asyncio.wait(tasks)
        return found

    async def one(self, due: float, found: Sent) -> None:
        """Send one request and note what comes of it."""
        sent, line = time.monotonic(), None
        try:
            async with asyncio.timeout(ANSWER_S):
                line = await self.line()
                sent = time.monotonic()
                status, retry_after, body = await line.ask(self.request)
        except (OSError, TimeoutError, httptools.HttpParserError) as reason:
            status, retry_after, body = 0, None, repr(reason).encode()
            if line:
                line.close()
        found.answers.append(Answered(due, sent, time.monotonic() - sent, status, retry_after, body))
        if line:
            self.give_back(line)

    async def line(self) -> Line:
        """Return a connection that is free, or a new one."""
        while self.free:
            # The one used last: under little load few stay open.
            if not (line := self.free.pop()).closed:
                return line
            self.open -= 1
        self.open += 1
        try:
            _, line = await asyncio.get_running_loop().create_connection(Line, self.host, self.port)
        except BaseException:
            self.open -= 1
            raise
        return line

    def give_back(self, line: Line) -> None:
        """Have a connection free for the next request."""
        if line.closed:
            self.open -= 1
        else:
            self.free.append(line)

    def close(self) -> None:
        """Close what is open."""
        for line in self.free:
            line.close()
