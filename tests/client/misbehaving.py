"""A way to the engine that loses, cuts and refuses what a test tells it to, and passes on the rest."""

import asyncio
import json
import socket
from collections import deque
from contextlib import asynccontextmanager, suppress

import uvicorn

from config.asgi import application
from deploy.connections import Server
from deploy.requests import Requests
from deploy.sockets import Socket
from tests.orders.doors import until

LOSE = "do it, and lose the answer"


class Misbehaving:
    """An ASGI application before the engine's own.

    `posts` holds what to do to each POST in turn: LOSE, or a status and error code to refuse it with.  `sockets` holds
    for each socket after how many messages to end it and with which close code; None breaks the connection.
    """

    def __init__(self):
        self.posts, self.sockets = deque(), deque()
        self.posted, self.opened = [], []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "websocket":
            await self.stream(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"] == "/api/orders/execute":
            await self.post(scope, receive, send)
        else:
            await application(scope, receive, send)

    async def post(self, scope, receive, send):
        """Accept an order, or not, and answer, or not."""
        message = await receive()
        assert not message.get("more_body")
        self.posted.append(json.loads(message["body"]))
        plan = self.posts.popleft() if self.posts else None
        if plan is None:
            await application(scope, beginning_with(message, receive), send)
        elif plan == LOSE:
            await application(scope, beginning_with(message, receive), swallow)
            # Half an answer; the server breaks the connection when the application leaves it at that.
            await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"9")]})
        else:
            await refuse(send, *plan)

    async def stream(self, scope, receive, send):
        """Pass a socket's messages on, as many as planned."""
        query = scope["query_string"].decode()
        self.opened.append(f"{scope['path']}?{query}" if query else scope["path"])
        left, code = self.sockets.popleft() if self.sockets else (-1, None)
        cut = asyncio.Event()

        async def limited(message):
            nonlocal left
            if cut.is_set():
                raise OSError("the client has gone")
            if message["type"] == "websocket.send":
                if left == 0:
                    cut.set()
                    await end(send, code)
                    raise OSError("the client has gone")
                left -= 1
            await send(message)

        await application(scope, until_cut(receive, cut), limited)


async def end(send, code):
    """Close as the engine does; without a code leave that to the server, which breaks the connection."""
    if code == 1013:
        error = {"code": "store_unreachable", "message": "the order store does not answer", "fields": []}
        await send({"type": "websocket.send", "text": json.dumps({"error": error})})
    if code:
        await send({"type": "websocket.close", "code": code})


def until_cut(receive, cut):
    """Make a `receive` that says that the client has gone once it is cut off."""

    async def one():
        waiting = [asyncio.ensure_future(receive()), asyncio.ensure_future(cut.wait())]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for other in pending:
            other.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return waiting[0].result() if waiting[0] in done else {"type": "websocket.disconnect", "code": 1006}

    return one


def beginning_with(first, receive):
    """Make a `receive` that yields a message read before, then the others."""
    waiting = [first]

    async def one():
        return waiting.pop() if waiting else await receive()

    return one


async def swallow(message):
    """Lose what is sent."""


async def refuse(send, status, code):
    """Answer with an error."""
    body = json.dumps({"error": {"code": code, "message": "not now", "fields": []}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def bound():
    """Take a port on which nobody listens yet."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", 0))
    return taken, f"http://127.0.0.1:{taken.getsockname()[1]}"


@asynccontextmanager
async def served(app, taken):
    """Serve an application on a port that was taken, as the engine is served."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        http=Requests,
        ws=Socket,
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[taken]))
    try:
        await until(lambda: server.started, "the server listens")
        yield
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await serving
