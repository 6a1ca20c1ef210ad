"""Set and remove trading limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from django.contrib.auth import get_user_model
from django.db import transaction

from orders.flow.pauses import HEARD, announce
from orders.flow.trading_limits import trading_limits
from orders.models import ApiKey, LimitKind, LimitScope, TradingLimit
from routing.catalogue import catalogue
from routing.venues import VENUES

log = structlog.get_logger(__name__)

NAMES = frozenset({LimitKind.TOKENS, LimitKind.VENUES})
"""Kinds that allow names; the others have a value."""
BOUNDS: Mapping[LimitKind, tuple[int, int]] = {
    LimitKind.ORDER_VALUE: (0, 10**12),
    LimitKind.DAY_VALUE: (0, 10**12),
    LimitKind.SLIPPAGE: (0, 10_000),
    LimitKind.IMPACT: (0, 10_000),
    LimitKind.REPEAT: (1, 86_400),
}

HEARD["trading_limits.changed"] = trading_limits.forget


class CannotSet(ValueError):
    """There can be no such limit; the message says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A limit to be set."""

    scope: LimitScope
    name: str
    kind: LimitKind
    value: int = 0
    allowed: Sequence[str] = ()

    @property
    def subject(self) -> int | None:
        """Return the id of the account or key it is about.

        Raises CannotSet.
        """
        found: int | None = None
        if self.scope is LimitScope.USER:
            found = get_user_model().objects.filter(username=self.name).values_list("pk", flat=True).first()
        elif self.scope is LimitScope.KEY:
            found = ApiKey.objects.filter(prefix=self.name).values_list("pk", flat=True).first()
        else:
            known = {LimitScope.EVERYTHING: {""}, LimitScope.PAIR: catalogue().pairs, LimitScope.TOKEN: tokens()}
            if self.name in known[self.scope]:
                return None
        if found is None:
            raise CannotSet(f"there is no {LimitScope(self.scope).label} {self.name!r}")
        return found

    @property
    def terms(self) -> Sequence[str]:
        """What it allows."""
        return self.allowed or (f"{self.value:,}",)

    def check(self) -> None:
        """Refuse values that mean nothing, and names that nobody has.

        Raises CannotSet.
        """
        _ = self.subject
        if self.kind in NAMES:
            known = tokens() if self.kind is LimitKind.TOKENS else set(VENUES)
            unknown = sorted(set(self.allowed) - known)
            if unknown or not self.allowed:
                raise CannotSet(
                    f"{self.kind} are some of {', '.join(sorted(known))}, not {', '.join(unknown) or 'none'}"
                )
            if self.kind is LimitKind.VENUES and self.scope is LimitScope.KEY:
                raise CannotSet("venues are chosen by the order worker, which knows of no key; limit the key's user")
            return
        if self.kind is LimitKind.IMPACT and self.scope is LimitScope.KEY:
            raise CannotSet("price impact is judged by the order worker, which knows of no key; limit the key's user")
        low, high = BOUNDS[self.kind]
        if not low <= self.value <= high:
            raise CannotSet(f"{LimitKind(self.kind).label}: {low:,} to {high:,}, not {self.value:,}")


def wanted(scope: str, name: str, kind: str, terms: Sequence[str]) -> Wanted:
    """Return the limit that an operator has typed.

    Raises CannotSet.
    """
    if LimitKind(kind) in NAMES:
        return Wanted(LimitScope(scope), name, LimitKind(kind), allowed=[term.strip(",") for term in terms])
    try:
        (text,) = terms
        value = int(text.replace(",", "").replace("_", ""))
    except ValueError:
        raise CannotSet(f"the value is one whole number, not {' '.join(terms)!r}") from None
    return Wanted(LimitScope(scope), name, LimitKind(kind), value)


def tokens() -> set[str]:
    return {token.symbol for token in catalogue().tokens.values()}


def put(wanted: Wanted, reason: str, by: str) -> TradingLimit:
    """Set a limit, in the place of one of its kind and scope.

    Raises CannotSet.
    """
    wanted.check()
    terms: dict[str, Any] = {"subject": wanted.subject, "value": wanted.value, "allowed": sorted(wanted.allowed)}
    whose: dict[str, Any] = {"subject": wanted.subject} if wanted.subject else {"name": wanted.name}
    row, _ = TradingLimit.objects.update_or_create(
        **whose,
        scope=wanted.scope,
        kind=wanted.kind,
        defaults={**terms, "name": wanted.name, "reason": reason, "by": by},
    )
    log.warning("trading limit set", limit=str(row), value=wanted.value, allowed=terms["allowed"], reason=reason, by=by)
    transaction.on_commit(changed)
    return row


def find(scope: LimitScope, name: str, kind: LimitKind) -> TradingLimit | None:
    """Return the limit of this kind, if there is one: of a user by the name it has now."""
    rows = TradingLimit.objects.filter(scope=scope, kind=kind)
    try:
        subject = Wanted(scope, name, kind).subject
    except CannotSet:
        subject = None
    return (rows.filter(name=name) if subject is None else rows.filter(subject=subject)).first()


def remove(row: TradingLimit, by: str) -> None:
    """End a limit."""
    log.warning("trading limit removed", limit=str(row), by=by)
    TradingLimit.objects.filter(pk=row.pk).delete()
    transaction.on_commit(changed)


def changed() -> None:
    trading_limits.forget()
    announce("trading_limits.changed")
