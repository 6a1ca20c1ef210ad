"""Lanes: how many requests Django serves at a time, by kind.

Django by itself takes a thread for each request there is: some two hundred of them then stand in line for the database
connections, each keeps its own the longer the more there are, and all wait too long.  Here each kind of request has a
few threads that keep busy, none takes another kind's, and what finds no free thread in time is told to come back.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import structlog
from asgiref.sync import ThreadSensitiveContext

from orders.api.errors import STORE_AWAY
from orders.api.http import Application, Receive, Scope, Send, refuse, respond
from orders.api.placing import DOORS
from orders.flow.batcher import Overloaded
from orders.stores.threads import one_per_loop

log = structlog.get_logger(__name__)

WAIT_S = 2.0
"""How long a request waits for a thread."""
READ_S = 3.0
"""How long a read may take in all."""
STREAM_S = 600.0
"""How long an answer may be sent that is streamed; then the connection is closed."""
STALL_S = 20.0
"""How long a client may leave a part of it unread."""
COMPLAIN_EVERY_S = 5.0
AT_END = "orders.at_end"
"""In the scope of a request whose answer is streamed: an ExitStack that is closed once no more of it is sent."""

API = "/api/"
DESCRIPTIONS = ("/api/schema", "/api/docs", "/api/redoc", "/api/asyncapi")


@dataclass(frozen=True)
class Kind:
    """A kind of request, how many of them are served at a time, and how many of those can use the database."""

    name: str
    threads: int
    connections: int
    within_s: float | None = None
    """How long one may take in all; None where other limits apply."""
    streams: bool = False
    """Whether answers are sent as they are made, however large; the thread is kept meanwhile."""


PLACE = Kind("place", 3, 3)
"""Orders with unusual headers, and the desk's, whose session is read; they are written on threads of their own."""
READ = Kind("read", 6, 6, READ_S)
EXPORT = Kind("export", 2, 2, streams=True)
"""Lists that are written page by page."""
CHANGE = Kind("change", 4, 4)
ESTIMATE = Kind("estimate", 2, 2)
"""These may wait for venues."""
PROBE = Kind("probe", 2, 2)
ALIVE = Kind("alive", 1, 0)
"""Whether the process lives must not hang on a store."""
PAGE = Kind("page", 3, 3)
KINDS = (PLACE, READ, EXPORT, CHANGE, ESTIMATE, PROBE, ALIVE, PAGE)


def kind_of(scope: Scope) -> Kind:
    """Tell what kind a request is."""
    method, path = scope["method"], scope["path"]
    if path == "/healthz":
        return ALIVE
    if path in ("/readyz", "/metrics"):
        return PROBE
    if path == "/api/orders/estimate":
        return ESTIMATE
    if not path.startswith(API) or path.startswith(DESCRIPTIONS):
        return PAGE
    if method in ("GET", "HEAD", "OPTIONS"):
        return EXPORT if path == "/api/orders" and may_be_csv(scope) else READ
    return PLACE if path in DOORS else CHANGE


CSV_KINDS = (b"text/csv", b"text/*", b"*/csv")


def may_be_csv(scope: Scope) -> bool:
    """Tell whether a list may be answered as CSV; of what looks like it, some is answered as JSON."""
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("format", ())
    wanted = b",".join(value.lower() for name, value in scope["headers"] if name == b"accept")
    return "csv" in asked or any(kind in wanted for kind in CSV_KINDS)


class Lane:
    """The threads of one kind, each an executor of its own: what Django does for one request stays on one thread."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.free: list[Executor] = [
            ThreadPoolExecutor(1, thread_name_prefix=f"{kind.name}-{number}") for number in range(kind.threads)
        ]
        self.places = asyncio.Semaphore(kind.threads)

    @asynccontextmanager
    async def thread(self) -> AsyncIterator[Executor]:
        """Have a thread for a while.

        Raises Overloaded when none gets free in time.
        """
        try:
            async with asyncio.timeout(WAIT_S):
                await self.places.acquire()
        except TimeoutError:
            raise Overloaded from None
        thread = self.free.pop()
        try:
            yield thread
        finally:
            self.free.append(thread)
            self.places.release()


class Lanes:
    """All lanes, before an application that serves on the threads it is given."""

    def __init__(self) -> None:
        self.lanes = {kind: Lane(kind) for kind in KINDS}
        self.overdue: set[asyncio.Task[None]] = set()
        """Requests that were answered before they were served; they keep their threads until they are."""
        self.complained_at = float("-inf")

    async def serve(self, application: Application, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request in its lane, or say that it must come back."""
        kind = kind_of(scope)
        try:
            if kind.within_s is None:
                await self.serve_on(kind, application, scope, receive, send)
            else:
                await self.serve_within(kind.within_s, kind, application, scope, receive, send)
        except Overloaded as reason:
            self.complain(kind)
            await refuse(send, reason)
        except CutShort:
            # The server closes the connection of an answer without an end.
            log.warning("answer cut short, it is read too slowly", kind=kind.name)

    async def serve_on(self, kind: Kind, application: Application, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request on one of its kind's threads, which is free again before a slow client has read the answer.

        Raises Overloaded, CutShort.
        """
        if kind.streams:
            async with self.lanes[kind].thread() as thread, ThreadSensitiveContext(executor=thread):
                with ExitStack() as at_end:
                    await application({**scope, AT_END: at_end}, receive, within(STREAM_S, STALL_S, send))
            return
        answer: list[Any] = []

        async def keep(message: Any) -> None:
            answer.append(message)

        async with self.lanes[kind].thread() as thread, ThreadSensitiveContext(executor=thread):
            await application(scope, receive, keep)
        for message in answer:
            await send(message)

    async def serve_within(
        self, within_s: float, kind: Kind, application: Application, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve a request, or say that it takes too long.

        Raises Overloaded.
        """
        answer = Answer(send)
        serving = asyncio.create_task(self.serve_on(kind, application, scope, receive, answer.send))
        try:
            await asyncio.wait({serving}, timeout=within_s)
            if serving.done() or answer.begun:
                await serving
                return
        finally:
            if not serving.done():
                answer.is_given_up = True
                self.overdue.add(serving)
                serving.add_done_callback(self.forget)
        self.complain(kind)
        await respond(send, *STORE_AWAY)

    def forget(self, serving: "asyncio.Task[None]") -> None:
        """Let go of a request that was answered long ago."""
        self.overdue.discard(serving)
        if not serving.cancelled() and (reason := serving.exception()) and not isinstance(reason, Overloaded):
            log.error("request failed after it was answered", exc_info=reason)

    def complain(self, kind: Kind) -> None:
        """Log that a lane is full or slow, now and then."""
        now = asyncio.get_running_loop().time()
        if now - self.complained_at > COMPLAIN_EVERY_S:
            self.complained_at = now
            log.warning("requests refused, all threads are busy or take too long", kind=kind.name, threads=kind.threads)


def within(seconds: float, each_s: float, send: Send) -> Send:
    """Make a `send` that fails so long after now, and for a message that is not taken within `each_s`.

    Raises CutShort.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds

    async def limited(message: Any) -> None:
        try:
            async with asyncio.timeout_at(min(until, loop.time() + each_s)):
                await send(message)
        except TimeoutError:
            raise CutShort from None

    return limited


class CutShort(Exception):
    """A streamed answer took too long."""


class Answer:
    """What an application answers, until somebody else has answered in its place."""

    def __init__(self, send: Send) -> None:
        self.wire = send
        self.begun = self.is_given_up = False

    async def send(self, message: Any) -> None:
        """Pass a message on."""
        if not self.is_given_up:
            self.begun = True
            await self.wire(message)


@one_per_loop
def lanes() -> Lanes:
    """Return this server's lanes."""
    return Lanes()


def in_lanes(application: Application) -> Application:
    """Have an application that works on threads served in lanes."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await lanes().serve(application, scope, receive, send)

    return serve
