"""Change a risk limit: a row in Postgres, mirrored to Redis, which every process reads once a second."""

from dataclasses import dataclass

import structlog
from django.db import DatabaseError, transaction
from django.db.models.functions import Now

from engine import risk_limits as known
from orders.models import Guard
from orders.operations import schedule
from orders.stores import risk_limit_rows
from routing import risk_limits as standing
from routing.store import StoreError

log = structlog.get_logger(__name__)


class CannotMove(ValueError):
    """The risk limit cannot take this value; the message says why."""


@dataclass(frozen=True, slots=True)
class Move:
    """A risk limit's change of value; `row` is the row that stores it, None for the environment's value."""

    name: str
    before: int
    after: int
    row: Guard | None = None

    def __str__(self) -> str:
        unit = known.TABLE[self.name].unit
        back = "" if self.row else ", the default"
        return f"from {self.before:,} to {self.after:,} {unit}{back}"


def values() -> dict[str, int]:
    """Return every risk limit as stored in Postgres; every process applies it a second later."""
    defaults = standing.defaults()
    return {**defaults, **known.moved(defaults, risk_limit_rows.read())}


def idle() -> list[str]:
    """Return the risk limits whose stored change is not applied, because the environment has changed since."""
    found = risk_limit_rows.read()
    return sorted(found.keys() - known.moved(standing.defaults(), found).keys())


def planned(name: str, value: int | None) -> Move:
    """Return the change that setting a risk limit would make; None is the environment's value.

    Raises CannotMove.
    """
    if name not in known.TABLE:
        raise CannotMove(f"there is no risk limit {name!r}")
    now, default = values(), standing.defaults()[name]
    after = default if value is None else value
    refuse(name, after, now)
    if after == now[name] and not (value is None and Guard.objects.filter(pk=name).exists()):
        raise CannotMove(f"{name} is already {after}")
    return Move(name, now[name], after, None if after == default else Guard(name=name, value=after))


def refuse(name: str, value: int, now: dict[str, int]) -> None:
    """Check that a value is within bounds and agrees with the other risk limits and the polling interval.

    Raises CannotMove.
    """
    try:
        known.check(name, value)
    except known.OutOfBounds as reason:
        raise CannotMove(str(reason)) from None
    if problem := known.disagreement({**now, name: value}):
        raise CannotMove(problem)
    if name == "QUOTE_FRESH_MS" and value < now[name] and value < (every := schedule.polling_ms()):
        raise CannotMove(f"QUOTE_FRESH_MS={value}: must not be below the polling interval, {every} ms")


def move(name: str, value: int | None, reason: str, by: str) -> Move:
    """Set a risk limit to a value, or with None back to the environment's.

    Raises CannotMove.
    """
    with transaction.atomic():
        risk_limit_rows.hold()
        made = planned(name, value)
        if made.row is None:
            Guard.objects.filter(pk=name).delete()
        else:
            made.row.reason, made.row.by, made.row.moved_at = reason, by, Now()
            made.row.save()
        transaction.on_commit(moved)
    log.warning("risk limit changed", limit=name, before=made.before, after=made.after, reason=reason, by=by)
    return made


def moved() -> None:
    """Mirror the change to Redis for every process."""
    try:
        risk_limit_rows.mirror()
    except (StoreError, DatabaseError) as reason:
        log.warning("risk limits not mirrored, will retry", reason=str(reason))
