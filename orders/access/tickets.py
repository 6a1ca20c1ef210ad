"""Single-use tickets: they stand for a caller where no header can be sent, and never appear in a log.

| key | type | holds |
|---|---|---|
| `ticket:{digest}` | string, expires | the caller it stands for, as JSON |
"""

import hashlib
import secrets

import msgspec

from orders.access.callers import Caller, Scope, Unauthorized
from routing.store import redis

TICKET_S = 30
"""How long a ticket for a socket may wait to be used."""


class Ticket(msgspec.Struct):
    """What Redis keeps of a ticket; `use` is what it is good for."""

    use: str
    owner: int
    name: str
    scopes: list[Scope]
    key: int | None


def issue(caller: Caller, use: str = "socket", within_s: int = TICKET_S) -> str:
    """Make a ticket for this caller.

    Raises StoreError.
    """
    token = secrets.token_urlsafe(32)
    body = Ticket(use, caller.owner, caller.name, sorted(caller.scopes), caller.key)
    redis().set(place(token), msgspec.json.encode(body), ex=within_s)
    return token


def redeem(token: str, use: str = "socket") -> Caller:
    """Return whom a ticket stands for; it is used up, also when it is good for something else.

    Raises Unauthorized, StoreError.
    """
    kept = redis().getdel(place(token))
    body = msgspec.json.decode(str(kept), type=Ticket) if kept else None
    if body is None or body.use != use:
        raise Unauthorized("the ticket is unknown, used or expired; POST /api/tickets makes one")
    return Caller(body.owner, body.name, frozenset(body.scopes), body.key)


def place(token: str) -> str:
    return f"ticket:{{{hashlib.blake2b(token.encode(), digest_size=16).hexdigest()}}}"
