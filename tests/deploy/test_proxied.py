"""Both servers believe the same proxies about the scheme and the client of a request."""

import pytest
from uvicorn import Config

from deploy.proxied import behind_proxies

PROXY = "10.0.0.7"


def by_uvicorn(served):
    config = Config(served, log_config=None)
    config.load()
    return config.loaded_app


async def told(server, kind, headers):
    """Return the scheme and the client that an application is told."""
    seen = []

    async def served(scope, receive, send):
        seen.append((scope["scheme"], scope["client"][0]))

    scheme = "ws" if kind == "websocket" else "http"
    scope = {"type": kind, "scheme": scheme, "client": (PROXY, 4711), "headers": headers, "asgi": {"version": "3.0"}}
    await server(served)(scope, None, None)
    return seen[0]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("trusted", "believed"), [(PROXY, True), ("10.0.0.0/8", True), ("*", True), (None, False), ("10.0.0.8", False)]
)
async def test_only_a_trusted_proxy_is_believed_and_by_both_servers_alike(monkeypatch, kind, trusted, believed):
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if trusted:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    headers = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-for", b"192.0.2.1")]
    plain, secure = ("ws", "wss") if kind == "websocket" else ("http", "https")
    expected = (secure, "192.0.2.1") if believed else (plain, PROXY)
    assert await told(behind_proxies, kind, headers) == await told(by_uvicorn, kind, headers) == expected
