"""One request to the API and what may become of it."""

from collections.abc import Mapping
from typing import Any

import httpx

from .errors import AnswerLost, Unreachable, Unreadable, refusal

ANSWER_TIMEOUT_S = 10.0

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.PoolTimeout)


def connection(url: str, headers: Mapping[str, str]) -> httpx.AsyncClient:
    """Make connections to the API, past any proxy in the environment: it is on this machine or in this network."""
    return httpx.AsyncClient(
        base_url=url, headers=headers, timeout=ANSWER_TIMEOUT_S, trust_env=False, follow_redirects=False
    )


async def ask(http: httpx.AsyncClient, method: str, path: str, **more: Any) -> Any:
    """Send a request; return the JSON of its answer.

    Raises Refused, Unreachable, AnswerLost, Unreadable.
    """
    try:
        answer = await http.request(method, path, **more)
    except NEVER_SENT as reason:
        raise Unreachable(str(reason) or repr(reason)) from None
    except httpx.HTTPError as reason:
        raise AnswerLost(repr(reason)) from None
    return said(answer)


def said(answer: httpx.Response) -> Any:
    """Read an answer.

    Raises Refused, Unreadable.
    """
    try:
        found = answer.json()
    except ValueError:
        raise Unreadable(f"status {answer.status_code} without JSON") from None
    if answer.is_success:
        return found
    if not isinstance(found, dict) or "error" not in found:
        raise Unreadable(f"status {answer.status_code} without an error as this engine writes it")
    raise refusal(found["error"], answer.status_code, answer.headers)
