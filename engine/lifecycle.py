"""The order lifecycle: which status may follow which."""

from enum import StrEnum


class Status(StrEnum):
    """An order's status, as clients see it."""

    PENDING = "pending"
    TRIGGERED = "triggered"
    ROUTING = "routing"
    BUILDING = "building"
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


NEXT: dict[Status, frozenset[Status]] = {
    # An amendment keeps an order pending.
    Status.PENDING: frozenset(
        {Status.PENDING, Status.TRIGGERED, Status.ROUTING, Status.CANCELLED, Status.EXPIRED, Status.FAILED},
    ),
    # From `triggered` on, a return to `pending` means that a limit or sniper order has lost its price and rests again.
    Status.TRIGGERED: frozenset({Status.PENDING, Status.ROUTING, Status.CANCELLED, Status.FAILED}),
    Status.ROUTING: frozenset({Status.PENDING, Status.BUILDING, Status.ROUTING, Status.CANCELLED, Status.FAILED}),
    Status.BUILDING: frozenset({Status.PENDING, Status.SUBMITTED, Status.ROUTING, Status.CANCELLED, Status.FAILED}),
    # Back only when the open attempt is proven dead; orders/flow/settlement.py enforces that rule.
    Status.SUBMITTED: frozenset({Status.CONFIRMED, Status.FAILED, Status.ROUTING, Status.PENDING, Status.CANCELLED}),
    Status.CONFIRMED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.EXPIRED: frozenset(),
}

FINAL = frozenset(status for status, following in NEXT.items() if not following)


class IllegalStep(Exception):
    """The status transition is not allowed: a bug in the caller, never a client error."""

    def __init__(self, current: Status, to: Status) -> None:
        super().__init__(f"{to} may not follow {current}")


def check(current: Status, to: Status) -> None:
    """Check that a status transition is allowed.

    Raises IllegalStep.
    """
    if to not in NEXT[current]:
        raise IllegalStep(current, to)


class AttemptState(StrEnum):
    """The state of one attempt, which is one signed transaction."""

    PREPARED = "prepared"
    SENT = "sent"
    LANDED = "landed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    """Committed, then abandoned before anything was sent."""


OPEN_ATTEMPT = (AttemptState.PREPARED, AttemptState.SENT)
"""States of an attempt not yet proven landed or dead."""

HOLDING_ATTEMPT = (*OPEN_ATTEMPT, AttemptState.LANDED)
"""At most one attempt per order is in one of these states; a unique index in Postgres enforces that."""
