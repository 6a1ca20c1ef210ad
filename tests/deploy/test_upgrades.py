"""Requests that ask to go on in another protocol, as raw bytes: each is served or refused at once."""

import asyncio

import pytest

from tests.client.misbehaving import bound, served

ASKS = b"Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
HANDSHAKE = ASKS + KEY + VERSION
H2C = b"Host: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
AT_ONCE_S = 5.0
"""Well below uvicorn's own time limits: a request that is not answered at once is answered by none of them."""

REFUSED = {
    "another method": (b"POST /ws/x HTTP/1.1\r\n" + HANDSHAKE + b"\r\n", 405),
    "another method with a body": (b"POST /ws/x HTTP/1.1\r\n" + HANDSHAKE + b"Content-Length: 4\r\n\r\nbody", 400),
    "a body": (b"GET /ws/x HTTP/1.1\r\n" + HANDSHAKE + b"Content-Length: 4\r\n\r\nbody", 400),
    "a body that does not come": (b"GET /ws/x HTTP/1.1\r\n" + HANDSHAKE + b"Content-Length: 4\r\n\r\n", 400),
    "chunks": (b"GET /ws/x HTTP/1.1\r\n" + HANDSHAKE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "no key": (b"GET /ws/x HTTP/1.1\r\n" + ASKS + VERSION + b"\r\n", 400),
    "two keys": (b"GET /ws/x HTTP/1.1\r\n" + HANDSHAKE + KEY + b"\r\n", 400),
    "no version": (b"GET /ws/x HTTP/1.1\r\n" + ASKS + KEY + b"\r\n", 400),
    "another version": (b"GET /ws/x HTTP/1.1\r\n" + ASKS + KEY + b"Sec-WebSocket-Version: 8\r\n\r\n", 400),
    "many headers": (b"GET /ws/x HTTP/1.1\r\n" + HANDSHAKE + b"X: 1\r\n" * 200 + b"\r\n", 400),
    "a long header": (b"GET /ws/x HTTP/1.1\r\n" + HANDSHAKE + b"X: " + b"x" * 9000 + b"\r\n\r\n", 400),
    "a long address": (b"GET /ws/" + b"x" * 9000 + b" HTTP/1.1\r\n" + HANDSHAKE + b"\r\n", 400),
}


async def echo(scope, receive, send):
    """Accept a socket; answer a request with itself."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    text = f"{scope['method']} {scope['path']} ".encode()
    more = True
    while more:
        message = await receive()
        text, more = text + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture
async def connection():
    """A connection to a server that is set up like the engine's."""
    taken, _ = bound()
    async with served(echo, taken):
        reader, writer = await asyncio.open_connection(*taken.getsockname())
        yield reader, writer
        writer.close()


async def answered(reader):
    """Return the status of the next answer, and its body if it has one."""
    async with asyncio.timeout(AT_ONCE_S):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, _, length = head.partition(b"content-length: ")
        return int(head.split()[1]), await reader.readexactly(int(length.split()[0])) if length else b""


@pytest.mark.parametrize(("request_", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_no_handshake_is_refused_at_once_and_the_connection_ends(connection, request_, status):
    reader, writer = connection
    writer.write(request_)
    assert (await answered(reader))[0] == status
    async with asyncio.timeout(AT_ONCE_S):
        assert await reader.read() == b""


@pytest.mark.parametrize("more", [b"", b"Content-Length: 0\r\n"])
async def test_a_handshake_is_accepted(connection, more):
    reader, writer = connection
    writer.write(b"GET /ws/x HTTP/1.1\r\n" + HANDSHAKE + more + b"\r\n")
    assert await answered(reader) == (101, b"")


@pytest.mark.parametrize(
    "asks", [H2C, HANDSHAKE.replace(b"websocket", b"websocket, h2c"), ASKS + b"Connection: close, TE\r\n"]
)
async def test_an_upgrade_to_another_protocol_is_ignored_and_the_body_is_read(connection, asks):
    reader, writer = connection
    writer.write(b"POST /a HTTP/1.1\r\n" + asks + b"Content-Length: 4\r\n\r\nbo")
    writer.write(b"dy")
    assert await answered(reader) == (200, b"POST /a body")


@pytest.mark.parametrize("asks", [b"Host: localhost\r\n", H2C, HANDSHAKE])
async def test_connect_is_answered_as_any_method_and_ends_the_connection(connection, asks):
    reader, writer = connection
    writer.write(b"CONNECT /a HTTP/1.1\r\n" + asks + b"\r\nGET /b HTTP/1.1\r\n\r\n")
    assert await answered(reader) == (200, b"CONNECT /a ")
    async with asyncio.timeout(AT_ONCE_S):
        assert await reader.read() == b""


async def test_requests_after_an_ignored_upgrade_are_served(connection):
    reader, writer = connection
    writer.write(b"GET /a HTTP/1.1\r\n" + H2C + b"\r\n" + b"PUT /b HTTP/1.1\r\n" + H2C + b"Content-Length: 1\r\n\r\n1")
    assert await answered(reader) == (200, b"GET /a ")
    assert await answered(reader) == (200, b"PUT /b 1")
    writer.write(b"GET /c HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await answered(reader) == (200, b"GET /c ")


async def test_thousands_of_upgrades_in_one_packet_are_ignored_one_after_the_other(connection):
    reader, writer = connection
    writer.write(b"GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" * 3000)
    for _ in range(3000):
        assert await answered(reader) == (200, b"GET /a ")
