"""Whose web pages may open a socket: those of the engine's own origin, and of the origins named in the settings."""

import pytest

from config.values import origins
from tests.orders.doors import Socket, opened

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")

PLACE = "/api/orders/execute"


def handshake(*origins, host="localhost", scheme="ws", path=PLACE):
    """Make a handshake as it comes from a browser, which names its page's origin."""
    socket = Socket(path, [(b"origin", text.encode("latin-1")) for text in origins])
    socket.wire.scope["headers"][0] = (b"host", host.encode())
    socket.wire.scope["scheme"] = scheme
    return socket


async def is_accepted(socket):
    accepted, _ = await socket.wire.connect()
    await socket.wire.disconnect()
    return accepted


@pytest.mark.parametrize("path", [PLACE, "/ws/x", "/ws/orders", "/ws/quotes/SOL-USDC"])
@pytest.mark.parametrize(
    "text",
    [
        "http://evil.example",
        "https://localhost.evil.example",
        "http://localhost@evil.example",
        "http://localhost/",
        "http://localhost:8000",
        "http://127.0.0.1",
        "https://localhost",
        "ws://localhost",
        "//localhost",
        "localhost",
        "null",
        "",
        "http://[",
        "http://localhost:x",
        "http://localhost:0",
        "é",
        "file://",
    ],
)
async def test_a_foreign_or_malformed_origin_is_refused_at_the_handshake(path, text):
    assert not await is_accepted(handshake(text, path=path))


@pytest.mark.parametrize(
    ("text", "host", "scheme"),
    [
        ("http://localhost", "localhost", "ws"),
        ("http://localhost", "localhost:80", "ws"),
        ("http://localhost:8000", "localhost:8000", "ws"),
        ("http://localhost:8000", "LocalHost:8000", "ws"),
        ("http://[::1]:8000", "[::1]:8000", "ws"),
        ("https://localhost", "localhost", "wss"),
        ("https://localhost", "localhost:443", "wss"),
        ("https://localhost:8443", "localhost:8443", "wss"),
    ],
)
async def test_our_own_pages_may_come(text, host, scheme):
    assert await is_accepted(handshake(text, host=host, scheme=scheme))


@pytest.mark.parametrize(
    ("text", "host", "scheme"),
    [
        ("http://localhost:3000", "localhost:8000", "ws"),
        ("http://localhost", "localhost", "wss"),
        ("http://localhost:443", "localhost", "wss"),
    ],
)
async def test_another_port_or_scheme_of_our_host_is_foreign(text, host, scheme):
    assert not await is_accepted(handshake(text, host=host, scheme=scheme))


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "", "local host"])
async def test_a_page_of_a_host_the_engine_does_not_answer_to_is_foreign(host):
    assert not await is_accepted(handshake(f"http://{host}", host=host))


async def test_a_wildcard_of_hosts_lets_no_other_origin_in(settings):
    settings.ALLOWED_HOSTS = ["*"]
    assert not await is_accepted(handshake("http://evil.example", host="engine.example"))
    assert await is_accepted(handshake("http://engine.example", host="engine.example"))


async def test_the_origins_of_the_settings_may_come_and_no_others(settings):
    settings.ALLOWED_ORIGINS = origins("https://desk.example.com, http://localhost:3000")
    for text in ("https://desk.example.com", "http://localhost:3000", "http://localhost"):
        assert await is_accepted(handshake(text)), text
    for text in ("http://desk.example.com", "https://desk.example.com:8443", "https://a.desk.example.com"):
        assert not await is_accepted(handshake(text)), text


async def test_of_two_origins_both_must_be_ours():
    assert not await is_accepted(handshake("http://evil.example", "http://localhost"))
    assert not await is_accepted(handshake("http://localhost", "http://evil.example"))


async def test_a_client_that_is_no_browser_names_no_origin_and_may_come():
    async with opened(PLACE):
        pass
