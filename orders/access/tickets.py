"""Single-use tickets: they stand for a caller where no header can be sent, and never appear in a log.

| key | type | holds |
|---|---|---|
| `ticket:{digest}` | string, expires | what it is good for, and whose key or session it was made with, as JSON |
"""

import hashlib
import secrets

import msgspec
from django.contrib.auth import get_user_model

from orders.access import keys
from orders.access.callers import Caller, Unauthorized, of_user
from routing.store import redis

TICKET_S = 30
"""How long a ticket for a socket may wait to be used."""


class Ticket(msgspec.Struct):
    """What Redis keeps of a ticket; `use` is what it is good for."""

    use: str
    owner: int
    key: int | None


def issue(caller: Caller, use: str = "socket", within_s: int = TICKET_S) -> str:
    """Make a ticket for this caller.

    Raises StoreError.
    """
    token = secrets.token_urlsafe(32)
    body = Ticket(use, caller.owner, caller.key)
    redis().set(place(token), msgspec.json.encode(body), ex=within_s)
    return token


def redeem(token: str, use: str = "socket") -> Caller:
    """Return whom a ticket stands for, as the key or account is by now; it is used up, whatever it was good for.

    Raises Unauthorized, StoreError, Late, DatabaseError.
    """
    kept = redis().getdel(place(token))
    body = msgspec.json.decode(str(kept), type=Ticket) if kept else None
    if body is None or body.use != use:
        raise Unauthorized("the ticket is unknown, used or expired; POST /api/tickets makes one")
    if body.key is not None:
        return keys.keys().by_id(body.key)
    user = get_user_model().objects.filter(pk=body.owner, is_active=True).first()
    if user is None:
        raise Unauthorized("the account of this ticket is closed")
    return of_user(user)


def place(token: str) -> str:
    return f"ticket:{{{hashlib.blake2b(token.encode('utf-8', 'replace'), digest_size=16).hexdigest()}}}"
