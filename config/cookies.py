"""Middleware that marks the cookies of a response sent over TLS as secure, so they come back over TLS only."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware


@sync_and_async_middleware
def secure_over_tls(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Mark the cookies as secure; without TLS in front, such as on a laptop, they stay as they are."""

    def marked(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if request.is_secure():
            for cookie in response.cookies.values():
                cookie["secure"] = True
        return response

    def answer(request: HttpRequest) -> HttpResponseBase:
        return marked(request, get_response(request))

    async def answer_later(request: HttpRequest) -> HttpResponseBase:
        later: Awaitable[HttpResponseBase] = get_response(request)
        return marked(request, await later)

    return answer_later if iscoroutinefunction(get_response) else answer
