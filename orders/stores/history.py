"""An order's events as Postgres has them: the event rows, and what the rows of the order and its attempts imply."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, takewhile
from typing import Any

from msgspec import to_builtins

from engine import events
from engine.event_kinds import Head, Submitted
from engine.lifecycle import AttemptState, Status
from orders import models
from orders.stores import event_codec, retired, terms
from orders.stores.event_codec import Event

SENT = frozenset({AttemptState.SENT, AttemptState.LANDED, AttemptState.REJECTED, AttemptState.EXPIRED})
"""States of an attempt whose `submitted` event was published, which happens before any broadcast."""


def of(row: models.Order) -> list[Event]:
    """Return the order's events in Postgres, from the first one up to the first gap."""
    return merged(row, row.events.all(), row.attempts.all())


def of_many(order_ids: Sequence[str]) -> dict[str, list[Event]]:
    """Return the events in Postgres of each of these orders, retired ones too."""
    rows = models.Order.objects.filter(pk__in=order_ids).prefetch_related("events", "attempts")
    found = {str(row.id): of(row) for row in rows}
    # Searched last, so that an order retired between the queries is found here.
    missing = [order_id for order_id in order_ids if order_id not in found]
    retired_ones = models.ArchivedOrder.objects.filter(pk__in=missing) if missing else ()
    return found | {str(kept.pk): of_archived(kept) for kept in retired_ones}


def of_archived(kept: models.ArchivedOrder) -> list[Event]:
    """Return the events of a retired order."""
    return merged(retired.order(kept), retired.events(kept), retired.attempts(kept))


def merged(row: models.Order, told: Iterable[models.OrderEvent], attempts: Iterable[models.Attempt]) -> list[Event]:
    """Merge event rows with the events that follow from the order's row and its attempts.

    From its first seq on, a later epoch replaces all events of earlier epochs.  The first event is the same in every
    epoch.
    """
    rows = [as_wire(event) for event in told]
    # Rows last: they hold what was told, also where an earlier version's attempt implies another time.
    known = [*(event for attempt in attempts for event in remembered(row, attempt)), *rows]
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
    """Yield the attempt's own event, if it was sent, and those an earlier version stored with it."""
    sent = attempt.state in SENT
    yield from (event_codec.today(event) for event in attempt.trail if sent or event["seq"] < attempt.seq)
    if sent and not (attempt.trail and attempt.trail[-1]["seq"] == attempt.seq):
        yield submission(row, attempt)


def submission(row: models.Order, attempt: models.Attempt) -> Event:
    """Build the `submitted` event of an attempt, which follows from its row."""
    at = events.moment(terms.epoch_ms(attempt.submitted_at or max(attempt.created_at, row.created_at)))
    epoch = max([attempt.epoch or 0, *(event.get("epoch", 0) for event in attempt.trail)])
    return event_codec.as_dict(
        Head(str(row.id), epoch, attempt.seq, Status.SUBMITTED, at, attempt.number),
        Submitted(attempt.venue, attempt.signature, attempt.last_valid_height),
    )


def first_event(row: models.Order, others: Sequence[Mapping[str, Any]] = ()) -> Event:
    """Build event 1, which follows from the row alone until an amendment stores it."""
    epoch = row.accepted_epoch
    if epoch is None:  # a row of a version that did not keep it
        epoch = min([row.epoch, *(event["epoch"] for event in others)])
    at = events.moment(terms.epoch_ms(row.created_at))
    return event_codec.as_dict(Head(str(row.id), epoch, 1, Status.PENDING, at, 0), events.pending(terms.order_of(row)))


def as_wire(event: models.OrderEvent) -> Event:
    """Convert an event row to the clients' format."""
    at = events.moment(terms.epoch_ms(event.at))
    head = Head(str(event.order_id), event.epoch, event.seq, Status(event.status), at, event.attempt)
    return {**to_builtins(head), **event_codec.with_kind(event.status, event.facts)}
