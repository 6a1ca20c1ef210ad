"""Middleware that lets a browser run our own files with a response, and nothing inline or from elsewhere."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

OURS = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
LOOSER: dict[str, dict[str, str]] = {
    # The hash of the one <style> in drf-spectacular's page.
    "/api/docs/": {"style-src": "'self' 'sha256-MMpT0iDxyjALd9PdfepImGX3DBfJPXZ4IlDWdPAgtn0='"},
    # Redoc makes its styles in the page, and a worker for its search. Its maker's logo is on their server: not let in.
    "/api/redoc/": {"style-src": "'self' 'unsafe-inline'", "worker-src": "blob:"},
    # The theme: Alpine.js compiles the expressions in its attributes, and colours are in a <style>.
    "/admin/": {"script-src": "'self' 'unsafe-eval'", "style-src": "'self' 'unsafe-inline'"},
}
"""What pages of other people's making need besides, by the beginning of their paths; the first that fits applies."""


def written(policy: dict[str, str]) -> str:
    return "; ".join(f"{name} {sources}" for name, sources in policy.items())


STRICT = written(OURS)
POLICIES = {path: written({**OURS, **needed}) for path, needed in LOOSER.items()}
OTHERS = {
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def policy_for(path: str) -> str:
    """Return the Content-Security-Policy of a path."""
    return next((policy for beginning, policy in POLICIES.items() if path.startswith(beginning)), STRICT)


@sync_and_async_middleware
def secured(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Add the headers; a view's own policy stays."""

    def marked(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Content-Security-Policy", policy_for(request.path))
        for name, value in OTHERS.items():
            response.headers[name] = value
        return response

    def answer(request: HttpRequest) -> HttpResponseBase:
        return marked(request, get_response(request))

    async def answer_later(request: HttpRequest) -> HttpResponseBase:
        later: Awaitable[HttpResponseBase] = get_response(request)
        return marked(request, await later)

    return answer_later if iscoroutinefunction(get_response) else answer
