"""The application for Daphne, with the scheme and the client that a trusted proxy names.

Daphne's own --proxy-headers believes everybody, not only the proxies in FORWARDED_ALLOW_IPS, and keeps the scheme of a
socket to itself.  This is what uvicorn puts before the application by itself.
"""

from typing import Any

from uvicorn import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from config import asgi


def behind_proxies(served: Any) -> ProxyHeadersMiddleware:
    """Put uvicorn's middleware before an application, with uvicorn's own reading of FORWARDED_ALLOW_IPS."""
    return ProxyHeadersMiddleware(served, Config(served, log_config=None).forwarded_allow_ips)


application = behind_proxies(asgi.application)
