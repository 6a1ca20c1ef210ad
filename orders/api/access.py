"""Who asks over HTTP, and whether they may: one rule for every view, by its methods."""

from collections.abc import Mapping
from typing import Any

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from orders.access import keys
from orders.access.callers import Caller, Scope, Unauthorized, of_user

NEEDS: Mapping[str, Scope] = {
    "GET": Scope.READ,
    "HEAD": Scope.READ,
    "POST": Scope.TRADE,
    "PATCH": Scope.TRADE,
    "DELETE": Scope.CANCEL,
}
"""The scope that a request needs, unless its view says otherwise in `needs`."""


class ByKey(BaseAuthentication):
    """By `Authorization: Bearer <API key>`."""

    def authenticate(self, request: Request) -> tuple[Caller, Caller] | None:
        """Return the key's caller; None without the header.

        Raises Unauthorized, Late.
        """
        header = request.headers.get("Authorization")
        if header is None:
            return None
        caller = keys.caller(header)
        return caller, caller


class BySession(SessionAuthentication):
    """By the session of a person who has logged in; what changes something needs the CSRF token, too."""

    def authenticate(self, request: Request) -> tuple[Caller, Caller] | None:
        """Return the person's caller; None without a session."""
        found = super().authenticate(request)
        if found is None:
            return None
        caller = of_user(found[0])
        return caller, caller


class InScope(BasePermission):
    """Lets a caller do what its scopes allow."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return True.

        Raises Unauthorized, Forbidden.
        """
        caller = caller_of(request)
        needs: Mapping[str, Scope | None] = {**NEEDS, **getattr(view, "needs", {})}
        if needed := needs.get(str(request.method)):
            caller.require(needed)
        return True


def caller_of(request: Request) -> Caller:
    """Return who asks.

    Raises Unauthorized.
    """
    if not isinstance(request.auth, Caller):
        raise Unauthorized(keys.SEND_A_KEY)
    return request.auth
