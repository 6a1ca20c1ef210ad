"""What Postgres knows of an order's events: the rows DBSync wrote, and what each attempt's commit made durable."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, takewhile
from typing import Any

from engine import events
from engine.lifecycle import AttemptState, Status
from orders import models
from orders.stores import retired, terms

Event = dict[str, Any]

COMMON = ("orderId", "epoch", "seq", "status", "at", "attempt")
"""Fields that every event has."""

SENT = frozenset({AttemptState.SENT, AttemptState.LANDED, AttemptState.REJECTED, AttemptState.EXPIRED})
"""States of an attempt whose `submitted` event was told before anything left the house."""


def of(row: models.Order) -> list[Event]:
    """Gather what Postgres knows of an order's events; from the first on, without gaps."""
    return merged(row, row.events.all(), row.attempts.all())


def of_archived(kept: models.ArchivedOrder) -> list[Event]:
    """Return what the clients of an archived order were told."""
    return merged(retired.order(kept), retired.events(kept), retired.attempts(kept))


def merged(row: models.Order, told: Iterable[models.OrderEvent], attempts: Iterable[models.Attempt]) -> list[Event]:
    """Merge event rows with what attempts remember.

    What was made in a later epoch stands in the place of all that an earlier one had from there on; but the first event
    is the same in every epoch.
    """
    rows = [as_wire(event) for event in told]
    known = [*rows, *(event for attempt in attempts for event in remembered(row, attempt))]
    if not any(event["seq"] == 1 for event in rows):
        known.append(first_event(row, known))
    by_epoch: dict[int, dict[int, Event]] = defaultdict(dict)
    for event in known:
        by_epoch[event["epoch"]][event["seq"]] = event
    history: dict[int, Event] = {}
    for _, made in sorted(by_epoch.items()):
        begins = min((seq for seq in made if seq > 1), default=max(history, default=1) + 1)
        history = {seq: event for seq, event in history.items() if seq < begins} | made
    return [history[seq] for seq in takewhile(history.__contains__, count(1))]


def remembered(row: models.Order, attempt: models.Attempt) -> Iterator[Event]:
    """Yield the events that the attempt's commit made durable: those before it and, once it was sent, its own."""
    sent = attempt.state in SENT
    yield from (with_epoch(event) for event in attempt.trail if sent or event["seq"] < attempt.seq)
    if sent and not (attempt.trail and attempt.trail[-1]["seq"] == attempt.seq):
        yield submission(row, attempt)


def with_epoch(event: Mapping[str, Any]) -> Event:
    """Read an event of an attempt's trail: jsonb keeps no order, and an earlier version wrote no epoch."""
    whole = {"epoch": 0, **event}
    return {name: whole[name] for name in COMMON} | facts_of(whole)


def submission(row: models.Order, attempt: models.Attempt) -> Event:
    """Make the `submitted` event of an attempt that an earlier version committed, without that event."""
    at = terms.epoch_ms(max(attempt.created_at, row.created_at))
    epoch = max((event.get("epoch", 0) for event in attempt.trail), default=0)
    facts = events.submitted(attempt.venue, attempt.signature, attempt.last_valid_height)
    return events.event(str(row.id), epoch, attempt.seq, Status.SUBMITTED, at, attempt.number, facts)


def first_event(row: models.Order, others: Sequence[Mapping[str, Any]] = ()) -> Event:
    """Make event 1, which the row alone determines until an amendment writes it down."""
    epoch = min([row.epoch, *(event["epoch"] for event in others)])
    facts = events.pending(terms.order_of(row))
    return events.event(str(row.id), epoch, 1, Status.PENDING, terms.epoch_ms(row.created_at), 0, facts)


def as_wire(event: models.OrderEvent) -> Event:
    """Write an archived event as clients read it."""
    at = terms.epoch_ms(event.at)
    return events.event(
        str(event.order_id), event.epoch, event.seq, Status(event.status), at, event.attempt, event.facts
    )


def facts_of(event: Mapping[str, Any]) -> Event:
    """Return what an event states beside the fields that every event has."""
    return {name: value for name, value in event.items() if name not in COMMON}
