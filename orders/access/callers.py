"""A caller: the account that asks, and the scopes it has."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any

OPEN_ORDERS_MAX = 10_000
"""How many orders of an account may rest at a time, unless its key says otherwise."""


class Scope(StrEnum):
    """What a caller may do.  No scope includes another."""

    READ = "read"
    """Orders, their events, and the market."""
    TRADE = "trade"
    """Place and amend orders."""
    CANCEL = "cancel"
    """Cancel orders."""
    ADMIN = "admin"
    """Do with every account's orders what the other scopes allow with its own."""


class Unauthorized(Exception):
    """Nobody knows who asks; the message says what to send."""


class Forbidden(Exception):
    """The caller lacks a scope; the message names it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `owner` is the id of the account, `key` that of the API key, None for a person who has logged in."""

    owner: int
    name: str
    scopes: frozenset[Scope]
    key: int | None = None
    expires: float = inf
    """Epoch seconds after which this holds no more."""
    orders_per_minute: int | None = None
    open_orders_max: int | None = OPEN_ORDERS_MAX
    cancels_on_disconnect: bool = False
    session: str = ""
    """The key of the session, of a person who has logged in with one."""

    def require(self, scope: Scope) -> None:
        """Raise Forbidden unless the caller has this scope."""
        if scope not in self.scopes:
            have = ", ".join(sorted(self.scopes)) or "none"
            raise Forbidden(f"this needs the scope {scope}; {self.name} has: {have}")

    def sees(self, owner: int | None) -> bool:
        """Tell whether orders of this account exist for the caller; None owns what is older than accounts."""
        return Scope.ADMIN in self.scopes or owner == self.owner

    @property
    def only_of(self) -> int | None:
        """Return the account whose orders alone the caller sees; None if it sees all."""
        return None if Scope.ADMIN in self.scopes else self.owner


TRADER = frozenset({Scope.READ, Scope.TRADE, Scope.CANCEL})


def of_user(user: Any, session: str = "") -> Caller:
    """Return the caller that a person who has logged in is.

    Staff trade if they may add orders in the admin, and see every account's orders if they may change them there.
    """
    scopes: Iterable[Scope] = TRADER
    if user.is_staff:
        scopes = TRADER if user.has_perm("orders.add_order") else {Scope.READ}
        if user.has_perm("orders.change_order"):
            scopes = {*scopes, Scope.ADMIN}
    return Caller(user.pk, user.get_username(), frozenset(scopes), session=session)
