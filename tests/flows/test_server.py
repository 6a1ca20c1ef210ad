"""Both servers, as their own processes: an order over HTTP, its stages over a socket, idle sockets that stay open."""

import asyncio
import json
import time
from contextlib import suppress

import httpx
import pytest
import websockets

from tests.system import NO_DELAYS, eventually, system

pytestmark = pytest.mark.system

# The price wanders while the chain takes its time; the order must put up with it.
ORDER = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "slippageBps": 2000}
STAGES = ["pending", "routing", "building", "submitted", "confirmed"]
SLOW_S = 13
"""Longer than redis-py's own time limits and than any server's idle pings, so that a socket lives through them."""


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def engine(request):
    """An engine on each server, whose chain takes its time."""
    with system(NO_DELAYS | {"ENGINE_SERVER": request.param, "MOCK_CONFIRM_DELAY_MS": str(SLOW_S * 1000)}) as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        yield engine


async def told(engine, url, first=None):
    """Return every event a socket tells until it closes, when each came, and the close code."""
    events, times = [], []
    async with websockets.connect(url, additional_headers=engine.headers) as socket:
        if first is not None:
            await socket.send(json.dumps(first))
        # Any code but 1000 is raised after the last message.
        with suppress(websockets.ConnectionClosedError):
            async for message in socket:
                events.append(json.loads(message))
                times.append(time.monotonic())
        return events, times, socket.close_code


async def test_stages_come_over_a_socket_that_was_idle_for_longer_than_any_time_limit(engine):
    async with httpx.AsyncClient(base_url=engine.url, headers=engine.headers) as client:
        accepted = await client.post("/api/orders/execute", json=ORDER)
        assert accepted.status_code == 202
        by_link = told(engine, accepted.json()["links"]["ws"].replace("localhost", "127.0.0.1"))
        by_placing = told(engine, f"{engine.ws}/api/orders/execute", ORDER)
        for events, times, code in await asyncio.gather(by_link, by_placing):
            assert [event["status"] for event in events] == STAGES
            assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
            assert times[-1] - times[-2] > 12
            assert code == 1000
        shown = await client.get(f"/api/orders/{accepted.json()['orderId']}")
        assert shown.json()["status"] == "confirmed"


async def test_the_server_refuses_as_the_application_says(engine):
    async with httpx.AsyncClient(base_url=engine.url, headers=engine.headers) as client:
        for body in (b"[" * 10_000, b" " * 70_000, b"\xff", b"", b'{"tokenIn":"\\ud800"}'):
            answer = await client.post(
                "/api/orders/execute", content=body, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 400, (body[:20], answer.text)
            assert set(answer.json()) == {"error"}
        assert (await client.get("/api/orders/%ff%00")).status_code == 404
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"{engine.ws}/nothing", additional_headers=engine.headers)
    assert refused.value.response.status_code == 403
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(
            f"{engine.ws}/api/orders/execute", origin="http://evil.example", additional_headers=engine.headers
        )
    events, _, code = await told(engine, f"{engine.ws}/ws/not-an-id")
    assert (events[0]["error"]["code"], code) == ("not_found", 4404)
    events, _, code = await told(engine, f"{engine.ws}/api/orders/execute", {"type": "swap"})
    assert (events[0]["error"]["code"], code) == ("invalid", 4400)


TLS = {"x-forwarded-proto": "https"}


async def test_a_proxy_that_ends_tls_says_so_to_the_server(engine):
    async with httpx.AsyncClient(base_url=engine.url, headers=engine.headers) as client:
        order = ORDER | {"type": "limit", "limitPrice": "1000000"}
        for headers, scheme in (({}, "ws"), (TLS, "wss")):
            accepted = await client.post("/api/orders/execute", json=order, headers=headers)
            assert accepted.json()["links"]["ws"].startswith(f"{scheme}://")
    at = httpx.URL(engine.url).netloc.decode()
    for headers, origin in (({}, f"http://{at}"), (TLS, f"https://{at}")):
        async with websockets.connect(
            f"{engine.ws}/ws/orders", origin=origin, additional_headers=headers | engine.headers
        ):
            pass
    for headers, origin in (({}, f"https://{at}"), (TLS, f"http://{at}"), ({}, "http://127.0.0.1:1")):
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(
                f"{engine.ws}/ws/orders", origin=origin, additional_headers=headers | engine.headers
            )


HANDSHAKE = (
    "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


async def test_a_handshake_with_a_body_is_refused_at_once(engine):
    url = httpx.URL(engine.url)
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(f"POST /ws/x HTTP/1.1\r\n{HANDSHAKE}Content-Length: 4\r\n\r\nbody".encode())
        assert (await reader.readline()).split()[1] in (b"400", b"405")
    writer.close()


async def test_no_log_holds_the_query_of_a_socket(engine):
    events, _, _ = await told(engine, f"{engine.ws}/ws/not-an-id?after=0&epoch=4711004711")
    assert events
    logs = (engine.data_dir / "logs").glob("api*.log")
    texts = [path.read_text() for path in logs]
    assert texts and not any("4711004711" in text for text in texts)
