"""Ways into the engine for tests: HTTP through the ASGI application as a server calls it, and sockets."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from channels.testing import WebsocketCommunicator
from hypothesis import strategies as st

from config.asgi import application
from orders import models
from orders.flow.batcher import batcher
from orders.flow.intake import Accepted, NewOrder
from orders.stores.threads import aside
from tests.keyring import BEARER, WIRE

ORDER = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}
MINT = "7vfCXTUXx5WJV5JADk17DUJ4ksgau7utNKj4b963voxs"
LIMIT = ORDER | {"type": "limit", "limitPrice": "160"}
LAUNCH = {"kind": "launch"}
LIQUIDITY = {"kind": "liquidity", "atLeast": "50000"}
VOLUME = {"kind": "volume", "atLeast": "10000.5", "windowS": 60}
SNIPER = {"type": "sniper", "tokenIn": "SOL", "tokenOut": MINT, "amount": "0.5", "trigger": LAUNCH}
NOBODY = "5f0e8d0c-3c1f-4a59-9a0e-6d3b7c1d2e4f"
"""The id of no order; written out, so that every test process collects the same tests."""
HOST = [(b"host", b"localhost")]
WITHIN_S = 10.0


def http(**options: Any) -> httpx.AsyncClient:
    """Make a client of the ASGI application."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=application), base_url="http://localhost", headers=BEARER, **options
    )


async def post(body: Any, path: str = "/api/orders/execute", **headers: str) -> httpx.Response:
    """Post a body, bytes as they are, to the execute address or another."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http() as client:
        return await client.post(path, content=content, headers={"content-type": "application/json"} | headers)


async def accept(asked: NewOrder) -> Accepted:
    """Have the batcher accept an order, or raise its verdict."""
    (verdict,) = await batcher().accept([asked])
    if isinstance(verdict, Exception):
        raise verdict
    return verdict


async def get(path: str) -> httpx.Response:
    """Get an address."""
    async with http() as client:
        return await client.get(path)


async def patch(path: str, body: Any, seq: int | str | None = None) -> httpx.Response:
    """Change what is at an address; `seq` is the state the change is meant for, a text as it is."""
    headers = {"content-type": "application/json"}
    if seq is not None:
        headers["if-match"] = seq if isinstance(seq, str) else f'"{seq}"'
    async with http() as client:
        return await client.patch(path, content=json.dumps(body).encode(), headers=headers)


async def delete(path: str, **headers: str) -> httpx.Response:
    """Delete what is at an address."""
    async with http() as client:
        return await client.delete(path, headers=headers)


async def until(check: Any, what: str) -> None:
    """Return once `check()` is true; fail when it takes too long."""
    deadline = time.monotonic() + WITHIN_S
    while not check():
        assert time.monotonic() < deadline, f"not within {WITHIN_S} s: {what}"
        await asyncio.sleep(0.005)


class Socket:
    """A client's end of one WebSocket."""

    def __init__(self, path: str, headers: Any = ()) -> None:
        self.wire = WebsocketCommunicator(application, path, headers=[*HOST, *WIRE, *headers])

    async def send(self, message: Any) -> None:
        """Send a message, text as it is."""
        await self.wire.send_to(text_data=message if isinstance(message, str) else json.dumps(message))

    async def event(self) -> dict[str, Any]:
        """Return the next message."""
        return json.loads(await self.wire.receive_from(timeout=WITHIN_S))

    async def rest(self) -> tuple[list[dict[str, Any]], int]:
        """Return every message until the server closes, and the close code."""
        heard = []
        while True:
            message = await self.wire.receive_output(timeout=WITHIN_S)
            if message["type"] == "websocket.close":
                return heard, message["code"]
            heard.append(json.loads(message["text"]))


@asynccontextmanager
async def opened(path: str, headers: Any = ()):
    """Open a socket for a while."""
    socket = Socket(path, headers)
    accepted, code = await socket.wire.connect(timeout=WITHIN_S)
    assert accepted, code
    try:
        yield socket
    finally:
        await socket.wire.disconnect(timeout=WITHIN_S)


def ahead(**delta):
    """Write the time so far from now as clients do."""
    return (datetime.now(UTC) + timedelta(**delta)).isoformat(timespec="milliseconds")


def error_of(answer):
    """Return the error of an answer, checked for the one shape."""
    assert answer.headers["content-type"].startswith("application/json")
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "fields"}
    for field in error["fields"]:
        assert set(field) == {"field", "value", "message", "accepted"}
    return error


def field_of(answer):
    """Return the one field an answer complains about."""
    (field,) = error_of(answer)["fields"]
    return field


async def placed(body, **headers):
    """Place an order; return its id."""
    answer = await post(body, **headers)
    assert answer.status_code == 202, answer.text
    return answer.json()["orderId"]


async def shown(order_id):
    """Return an order as it is shown."""
    answer = await get(f"/api/orders/{order_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(body):
    """Have an order refused; return the one field it is refused for."""
    answer = await post(body)
    assert answer.status_code == 400, answer.text
    assert await aside(models.Order.objects.count) == 0
    return field_of(answer)


def batch(*orders):
    """Post a batch."""
    return post({"orders": list(orders)}, path="/api/orders/batch")


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=30)
    | st.sampled_from(["SOL", "USDC", "market", "1.5", "\0", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from([*ORDER, "slippageBps", "clientOrderId"]) | st.text(max_size=5)
