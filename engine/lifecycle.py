"""The life of an order as data: which status may follow which."""

from enum import StrEnum


class Status(StrEnum):
    """Where an order stands, as clients read it."""

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
    # To itself when it is amended.
    Status.PENDING: frozenset(
        {Status.PENDING, Status.TRIGGERED, Status.ROUTING, Status.CANCELLED, Status.EXPIRED, Status.FAILED},
    ),
    # From here on, back to `pending` is a waiting order whose price has gone: it rests again.
    Status.TRIGGERED: frozenset({Status.PENDING, Status.ROUTING, Status.CANCELLED, Status.FAILED}),
    Status.ROUTING: frozenset({Status.PENDING, Status.BUILDING, Status.ROUTING, Status.CANCELLED, Status.FAILED}),
    Status.BUILDING: frozenset({Status.PENDING, Status.SUBMITTED, Status.ROUTING, Status.CANCELLED, Status.FAILED}),
    # Back only when the open attempt is proven dead; orders/flow/settlement.py holds that rule.
    Status.SUBMITTED: frozenset({Status.CONFIRMED, Status.FAILED, Status.ROUTING, Status.PENDING, Status.CANCELLED}),
    Status.CONFIRMED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.EXPIRED: frozenset(),
}

FINAL = frozenset(status for status, following in NEXT.items() if not following)


class IllegalStep(Exception):
    """This status may not follow that one: a defect in the caller, never a client's fault."""

    def __init__(self, current: Status, to: Status) -> None:
        super().__init__(f"{to} may not follow {current}")


def check(current: Status, to: Status) -> None:
    """Let a legal step pass.

    Raises IllegalStep for any other.
    """
    if to not in NEXT[current]:
        raise IllegalStep(current, to)


class AttemptState(StrEnum):
    """Where one signed transaction stands."""

    PREPARED = "prepared"
    SENT = "sent"
    LANDED = "landed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    """Committed, and given up before anything was sent."""


OPEN_ATTEMPT = (AttemptState.PREPARED, AttemptState.SENT)
"""Not yet proven landed or dead."""

HOLDING_ATTEMPT = (*OPEN_ATTEMPT, AttemptState.LANDED)
"""At most one of these per order; the database refuses a second."""
