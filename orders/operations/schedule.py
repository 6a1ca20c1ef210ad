"""The part of beat's schedule an operator may change: the polling interval, and tasks that may be off for a while.

The rows are django-celery-beat's: workers/migrations/0001 to 0004 make them, and the admin shows them. Beat checks for
changes on every tick and needs no restart.
"""

import json
from dataclasses import dataclass

import structlog
from django.db import transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from orders.flow import dispatch
from routing.asking import POLL_MS
from routing.risk_limits import risk_limits

log = structlog.get_logger(__name__)

POLL_MIN_MS = 100
POLL_MAX_MS = 10_000

ROLES = {
    dispatch.POLL: "Asks both venues for every active pair. Orders need prices, so it stays on: pause a venue instead.",
    dispatch.DRAIN: "Writes the event feed to Postgres. Nothing else does, so it stays on.",
    dispatch.RECOVER: "Repairs Redis from Postgres. It keeps acknowledged orders from being lost, so it stays on.",
    dispatch.KEEP: "Keeps failed orders as dead letters. May be off for a while: orders that fail meanwhile are "
    "kept once it is on again.",
    dispatch.RETIRE: "Retires a batch of the orders that ended RETENTION_DAYS ago. May be off for a while: orders "
    "due meanwhile are retired once it is on again.",
    dispatch.CHECK: "Fires and expires orders whose message was lost, and takes over dead workers' claims, so it "
    "stays on.",
    dispatch.AUDIT: "Compares a part of the book with Postgres. May be off for a while, to spare Postgres: orders "
    "missing from the book are restored once it is on again.",
    dispatch.MATCH: "Processes market events whose message to the sniper worker was lost, so it stays on.",
}
"""What each of the engine's periodic tasks is for."""
MAY_REST = frozenset({dispatch.KEEP, dispatch.RETIRE, dispatch.AUDIT})
"""Tasks that may be off for a while: no order waits for them."""


class CannotSchedule(ValueError):
    """The schedule cannot be changed this way; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """The changes made to a task's schedule, in words."""

    task: PeriodicTask
    said: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.said)


def interval_ms(task: PeriodicTask) -> int | None:
    """Return a task's interval in milliseconds; None if it has none."""
    return int(task.interval.schedule.run_every.total_seconds() * 1000) if task.interval else None


def polling_ms() -> int:
    """Return the polling interval in milliseconds, and lock it until the transaction ends."""
    task = PeriodicTask.objects.select_for_update(of=("self",)).filter(name=dispatch.POLL).first()
    every = interval_ms(task) if task else None
    return POLL_MS if every is None else every


def change(pk: int, every_ms: int | None, *, enabled: bool, reason: str, by: str) -> Change:
    """Set a task's interval (None keeps it) and switch it on or off; return the change.

    Raises CannotSchedule.
    """
    with transaction.atomic():
        task = PeriodicTask.objects.select_for_update(of=("self",)).get(pk=pk)
        refuse(task, every_ms, enabled=enabled)
        said = tuple(said for said in (paced(task, every_ms), switched(task, enabled=enabled)) if said)
        task.save()
    made = Change(task, said)
    log.warning("schedule changed", task=task.name, change=str(made), reason=reason, by=by)
    return made


def may_rest(task: PeriodicTask) -> bool:
    """Tell whether a task may be off for a while; tasks other than the engine's always may."""
    return task.name in MAY_REST or task.name not in ROLES


def refuse(task: PeriodicTask, every_ms: int | None, *, enabled: bool) -> None:
    """Check that a change changes something and leaves the engine able to work.

    Raises CannotSchedule.
    """
    if every_ms in (None, interval_ms(task)) and enabled == task.enabled:
        raise CannotSchedule(f"nothing would change: {task.name} is {state(enabled)}, {pace(task)}")
    if task.enabled and not enabled and not may_rest(task):
        raise CannotSchedule(f"{task.name} cannot be switched off")
    if every_ms is not None and every_ms != interval_ms(task):
        refuse_pace(task, every_ms, risk_limits.QUOTE_FRESH_MS)


def refuse_pace(task: PeriodicTask, every_ms: int, fresh_ms: int) -> None:
    """Check a new interval: only the polling interval can change, within its bounds and QUOTE_FRESH_MS.

    Raises CannotSchedule.
    """
    if task.name != dispatch.POLL:
        raise CannotSchedule(f"{task.name} is sent {pace(task)}, and its interval cannot be changed")
    if not POLL_MIN_MS <= every_ms <= POLL_MAX_MS:
        raise CannotSchedule(f"the polling interval is {POLL_MIN_MS} to {POLL_MAX_MS} ms, not {every_ms}")
    if every_ms > fresh_ms and every_ms > (interval_ms(task) or 0):
        raise CannotSchedule(
            f"with a polling interval of {every_ms} ms and QUOTE_FRESH_MS={fresh_ms} no quote stays fresh until "
            "the next: raise QUOTE_FRESH_MS first"
        )


def pace(task: PeriodicTask) -> str:
    """Describe how often a task is sent."""
    every = interval_ms(task)
    return f"every {every} ms" if every is not None else "on a schedule of its own"


def paced(task: PeriodicTask, every_ms: int | None) -> str:
    """Set a task's interval, and the expiry and arguments derived from it; return what was changed."""
    before = pace(task)
    if every_ms in (None, interval_ms(task)):
        return ""
    # Use another interval row: rows are shared, and the other tasks keep theirs.
    task.interval = IntervalSchedule.objects.filter(
        every=every_ms * 1000, period=IntervalSchedule.MICROSECONDS
    ).first() or IntervalSchedule.objects.create(every=every_ms * 1000, period=IntervalSchedule.MICROSECONDS)
    task.expire_seconds = -(-every_ms // 1000)
    # The polling worker must know when the next poll is due.
    task.kwargs = json.dumps({"every_ms": every_ms})
    return f"from {before} to {pace(task)}"


def switched(task: PeriodicTask, *, enabled: bool) -> str:
    """Switch a task on or off; return what was changed."""
    before, task.enabled = task.enabled, enabled
    return f"from {state(before)} to {state(enabled)}" if before != enabled else ""


def state(enabled: bool) -> str:
    return "on" if enabled else "off"
