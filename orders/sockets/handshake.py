"""Who opens a socket: by its Authorization header, by a ticket, or by the session of one of the engine's own pages."""

from http.cookies import CookieError, SimpleCookie
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest

from orders.access import keys, tickets
from orders.access.callers import Caller, Unauthorized, of_user
from orders.api.parsers import loads
from orders.stores.threads import aside

TICKET_WITHIN_S = 10.0
"""How long a socket may be open without saying who opened it."""
OFFER = "ticket."
"""Begins the subprotocol that carries a ticket, for browsers, which can set no header."""
PROTOCOL = "engine"
"""The subprotocol that is chosen beside an offered ticket, so that no answer repeats it."""


async def caller(scope: Any) -> Caller | None:
    """Return who opens a socket; None if its first message has to tell.

    Raises Unauthorized, Late, StoreError, DatabaseError.
    """
    headers = dict(scope["headers"])
    if (header := headers.get(b"authorization")) is not None:
        return await keys.caller_soon(header.decode("latin-1"))
    if (offered := ticket(scope)) is not None:
        return await aside(tickets.redeem, offered)
    # A page of an origin that is only allowed has no session here, nor has what is no page.
    if scope.get("own page") and (session := session_of(headers.get(b"cookie", b""))):
        return await aside(of_session, session)
    return None


async def by_message(text: str | bytes) -> Caller:
    """Return whom the ticket in a first message stands for.

    Raises Invalid, Unauthorized, Late, StoreError.
    """
    said = loads(text)
    if not isinstance(said, dict) or set(said) != {"ticket"} or not isinstance(said["ticket"], str):
        raise Unauthorized(f'the first message must be {{"ticket": "..."}}, or {keys.SEND_A_KEY}')
    return await aside(tickets.redeem, said["ticket"])


def ticket(scope: Any) -> str | None:
    """Return the ticket that is offered as a subprotocol."""
    found = (one.removeprefix(OFFER) for one in scope.get("subprotocols", ()) if one.startswith(OFFER))
    return next(found, None)


def subprotocol(scope: Any) -> str | None:
    """Choose a subprotocol: a browser that offered some closes a socket that has none of them."""
    return PROTOCOL if PROTOCOL in scope.get("subprotocols", ()) else None


def session_of(cookie: bytes) -> str | None:
    """Return the key of the session that a Cookie header names."""
    try:
        found = SimpleCookie(cookie.decode("latin-1")).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    return found.value if found else None


def of_session(key: str) -> Caller | None:
    """Return the caller who has logged in with this session."""
    request = HttpRequest()
    request.session = SessionStore(key)
    user = get_user(request)
    return of_user(user, key) if user.is_authenticated else None
