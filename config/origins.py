"""Whose web pages may open a socket: any site's script can try to, from the browser of its visitor."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from channels.security.websocket import WebsocketDenier
from django.conf import settings

from config.values import Origin, origin
from orders.api.placing import allowed

Application = Callable[[Any, Any, Any], Awaitable[Any]]
SCHEMES = {"ws": "http", "wss": "https"}


class OurOrigins:
    """Lets our own pages and every client other than a browser open a socket; a browser always sends its origin."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a socket, or refuse its handshake."""
        sent = [value for name, value in scope["headers"] if name == b"origin"]
        chosen = self.application if all(is_ours(value, scope) for value in sent) else WebsocketDenier()
        scope["own page"] = bool(sent) and all(is_own(value, scope) for value in sent)
        await chosen(scope, receive, send)


def is_ours(sent: bytes, scope: Any) -> bool:
    """Tell whether an Origin header names the engine's own origin or one of ENGINE_ALLOWED_ORIGINS."""
    with suppress(ValueError):
        return origin(sent.decode("latin-1")) in settings.ALLOWED_ORIGINS or is_own(sent, scope)
    return False


def is_own(sent: bytes, scope: Any) -> bool:
    """Tell whether an Origin header names the engine's own origin."""
    with suppress(ValueError):
        return origin(sent.decode("latin-1")) == own(scope)
    return False


def own(scope: Any) -> Origin | None:
    """Return the engine's origin as this client sees it, or None if the engine does not answer to that host.

    Without the latter a site could have its own name lead here, and its pages would be ours (DNS rebinding).
    Raises ValueError for a malformed host.
    """
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    if not allowed(host, tuple(settings.ALLOWED_HOSTS)):
        return None
    return origin(f"{SCHEMES[scope.get('scheme', 'ws')]}://{host}")
