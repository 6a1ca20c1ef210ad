"""Restoring live orders from Postgres: those Redis has lost, and those that contradict what Postgres knows.

Redis is usually ahead: Postgres learns of an event moments later.  It is behind when it was emptied or came back as it
was some time ago, and then Postgres has the word: an end stays an end, an attempt that was sent stays sent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

import structlog
from django.db import transaction

from engine.events import AMENDABLE
from engine.lifecycle import FINAL, HOLDING_ATTEMPT, AttemptState, Status
from engine.orders import Order, OrderType, TimeInForce
from orders import models
from orders.flow import dispatch
from orders.stores import history, live, placing, terms
from orders.stores.history import Event
from orders.stores.live import Live
from orders.stores.placing import Placement
from orders.telemetry import metrics
from orders.telemetry.log_fields import named
from routing import epochs
from routing.catalogue import UnknownPair
from routing.crashpoints import Store, step
from routing.store import StoreError

log = structlog.get_logger(__name__)

SOON_MS = 1
MOVES_BACK = {"limitPrice", "amountIn"} & set(AMENDABLE)
"""Amendments that send an order to the back of the queue at its price; less of the same at the same price is rare."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A live order that must give way: how it stands, and how many events it has in common with Postgres' history.

    `contradicts` when it has told others since.
    """

    stands: Live
    in_common: int
    contradicts: bool


def restore(order_ids: Sequence[str], reason: str) -> set[str]:
    """Make live orders agree with Postgres; harmless for those that do.  Return the ids of those that were changed.

    One that Postgres holds as finished is not put back into an emptied Redis: its events are read from Postgres.
    Raises StoreError, DatabaseError.
    """
    if not order_ids:
        return set()
    rows = models.Order.objects.filter(pk__in=order_ids).prefetch_related("events", "attempts")
    here, told = live.statuses(order_ids), live.events(order_ids)
    # Read last: an amendment that is told in between must not look as if it were not.
    versions = live.versions(order_ids)
    anew = cache(lambda: epochs.advance("orders had contradicted Postgres"))
    placements = []
    for row in rows:
        events = [live.decode(text) for text in told.get(str(row.id), [])]
        older = versions.get(str(row.id), row.terms_seq) < row.terms_seq
        if made := placement(row, here.get(str(row.id)), events, anew, older=older):
            placements.append(made)
    placed = placing.place(placements)
    done = [one for one in placements if one.order.id in placed]
    announce(done, reason)
    return placed


def announce(done: Sequence[Placement], reason: str) -> None:
    """Say which orders were restored, count them, and wake whoever goes on with them."""
    for field in named([one.order.id for one in done]):
        log.warning("orders restored", reason=reason, **field)
    metrics.restored(reason, len(done))
    going = [one.order.id for one in done if one.status not in FINAL and not rests(one)]
    if going:
        dispatch.send(dispatch.EXECUTE, going)


def rests(one: Placement) -> bool:
    """Tell whether a placed order waits, which is the book's business."""
    return one.order.waits and one.status is Status.PENDING


def placement(
    row: models.Order, stands: Live | None, told: Sequence[Event], anew: Callable[[], int], *, older: bool = False
) -> Placement | None:
    """Make a live order of its row and its events, if Redis needs it; None when not, or when its pair is gone.

    One that cannot be restored must not stop the others.  `anew` begins an epoch later than any of its events; `older`
    says that the live order has older terms than the row, on which no attempt of it would ever be committed.
    """
    final = row.status in models.FINALS
    if stands is None and final:
        return None
    try:
        known = history.of(row)
        if stands is None:
            return placement_of(row, known)
        conflict = conflict_of(row, known, stands, told, older=older)
        if conflict is None:
            # The archive took over what was told in place of the amendment: only the terms are to be mended.
            return replace(placement_of(row, told), instead=stands) if older else None
        if conflict.contradicts:
            known = tell_anew(row, known, conflict.in_common, anew())
        return replace(placement_of(row, known), instead=stands) if known else None
    except UnknownPair as reason:
        log.error("order not restored, its pair is not in the catalogue", order_id=str(row.id), pair=str(reason))
        return None


def conflict_of(
    row: models.Order, known: Sequence[Event], stands: Live, told: Sequence[Event], *, older: bool = False
) -> Conflict | None:
    """Compare a live order with Postgres; None when what Redis has told is right, or ahead."""
    shared = shared_by(known, told)
    if shared == len(known):
        # Everything Postgres has is here.  Only an end leaves nothing to come.
        behind_its_end = row.status in models.FINALS and len(told) > shared
        return Conflict(stands, shared, contradicts=True) if behind_its_end else None
    if shared == len(told):
        return Conflict(stands, shared, contradicts=False)
    if is_settled(row) or older or known[shared]["epoch"] > told[shared]["epoch"]:
        # What is of a later epoch than all that was told since withdraws it as it is.
        return Conflict(stands, shared, contradicts=known[shared]["epoch"] <= told[-1]["epoch"])
    # Redis went on from where it was, before anybody knew that it had forgotten something; DBSync takes that over.
    return None


def shared_by(known: Sequence[Event], told: Sequence[Event]) -> int:
    """Count the events, from the first, that two histories share; the first is the same in all."""
    pairs = zip(known[1:], told[1:], strict=False)
    differ = (at for at, (a, b) in enumerate(pairs, 1) if (a["epoch"], a["at"]) != (b["epoch"], b["at"]))
    return next(differ, min(len(known), len(told)))


def is_settled(row: models.Order) -> bool:
    """Tell whether Postgres has decided something that no live state can undo: an end, or a transaction on its way."""
    return row.status in models.FINALS or any(
        attempt.state in HOLDING_ATTEMPT and attempt.state != AttemptState.PREPARED for attempt in row.attempts.all()
    )


@step("anew", Store.POSTGRES, "an order's last events have a new epoch")
def tell_anew(row: models.Order, known: Sequence[Event], in_common: int, epoch: int) -> list[Event]:
    """Give the events past those in common a new epoch, here and in Postgres; none if somebody else has done so.

    Whoever saw the live order's own is told by that that they are withdrawn.  Raises StoreError when the epoch is over.
    """
    again = [*known[:in_common], *({**event, "epoch": epoch} for event in known[in_common:])]
    with transaction.atomic():
        now = models.Order.objects.select_for_update().prefetch_related("events").get(pk=row.pk)
        if version(now) != version(row):
            return []
        if epochs.newest() != epoch:
            raise StoreError("Redis was lost again, while an order was to be told anew")
        models.OrderEvent.objects.filter(order_id=row.pk, seq__gt=in_common).delete()
        models.OrderEvent.objects.bulk_create(as_row(event) for event in again[in_common:])
        models.Order.objects.filter(pk=row.pk, seq__gt=in_common).update(epoch=epoch)
    return again


def version(row: models.Order) -> tuple[int, int, list[tuple[int, int]]]:
    """Tell one reading of an order and its events from another."""
    return row.epoch, row.seq, sorted((event.seq, event.epoch) for event in row.events.all())


def as_row(event: Event) -> models.OrderEvent:
    """Write an event as its row."""
    return models.OrderEvent(
        order_id=event["orderId"],
        seq=event["seq"],
        epoch=event["epoch"],
        status=event["status"],
        at=datetime.fromisoformat(event["at"]),
        attempt=event["attempt"],
        facts=history.facts_of(event),
    )


def placement_of(row: models.Order, known: Sequence[Event]) -> Placement:
    """Make a live order of its row and the events it has."""
    last, order = known[-1], terms.order_of(row)
    status = Status(last["status"])
    made = list(row.attempts.all())
    return Placement(
        order=order,
        status=status,
        # Numbers are not used twice, also when the claims that had them left no event.
        attempt=max([int(last["attempt"]), *(attempt.number for attempt in made)]),
        events=tuple(live.encode(event) for event in known),
        # A limit order rests until its price comes; of the others somebody must look what has come already.
        look_in_ms=0 if only_rests(order) else SOON_MS,
        since=turn(row, known),
        base=not_counted(known, made),
        tx=last["txHash"] if status is Status.SUBMITTED else None,
    )


def not_counted(known: Sequence[Event], made: Sequence[models.Attempt]) -> int:
    """Count the attempts that do not count: those before the order last rested, and those never sent since."""
    rested = max(int(event["attempt"]) for event in known if event["status"] == Status.PENDING)
    return rested + sum(one.state == AttemptState.WITHDRAWN and one.number > rested for one in made)


def only_rests(order: Order) -> bool:
    """Tell whether an order may rest in the book with nobody looking at it before its price comes."""
    return order.type is OrderType.LIMIT and order.time_in_force is not TimeInForce.IOC


def turn(row: models.Order, known: Sequence[Event]) -> int:
    """Return an order's turn in the book: since when it has asked for this price and no less, in epoch milliseconds."""
    moved = [event["at"] for event in known if MOVES_BACK & event.get("amended", {}).keys()]
    return terms.epoch_ms(datetime.fromisoformat(moved[-1]) if moved else row.created_at)
