"""Every HTTP endpoint and every socket, from the lists the engine itself serves by."""

import re
from collections.abc import Iterator

from django.urls import URLResolver, get_resolver

from config import asgi

VARIABLE = re.compile(r"<[^>]*>|\(\?P<\w+>[^)]*\)")
UNLISTED = ("/static/desk/main.js", "/nothing/here", "/api")
"""What no list names: static files, and addresses that are not there."""


def endpoints() -> list[str]:
    """Return the paths of all HTTP endpoints, with `{}` for what varies."""
    return [*sorted(set(routes(get_resolver().url_patterns, "/"))), *UNLISTED]


def routes(patterns: list[object], before: str) -> Iterator[str]:
    for one in patterns:
        path = before + plain(str(one.pattern))  # type: ignore[attr-defined]
        if isinstance(one, URLResolver):
            yield from routes(one.url_patterns, path)
        else:
            yield path


def sockets() -> list[str]:
    """Return the paths of all sockets, with `{}` for what varies."""
    return [f"/{plain(str(one.pattern))}" for one in asgi.sockets.application.routes]


def plain(pattern: str) -> str:
    """Return a pattern as a path."""
    return VARIABLE.sub("{}", pattern).removeprefix("^").removesuffix("$").removesuffix("/?").replace("\\", "")
