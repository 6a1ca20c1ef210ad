"""Restore live orders from Postgres: those Redis has lost, and those that contradict Postgres.

Redis is usually ahead, since Postgres receives an event moments later. Redis is behind when it was emptied or came back
in an earlier state. Then Postgres prevails: an end stays an end, and a sent attempt stays sent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

import structlog
from django.db import transaction

from engine.event_kinds import AMENDABLE
from engine.failures import AWAY
from engine.lifecycle import FINAL, HOLDING_ATTEMPT, AttemptState, Status
from engine.orders import Order, OrderType, TimeInForce
from orders import models
from orders.flow import dispatch
from orders.stores import event_codec, history, live, placing, terms
from orders.stores.event_codec import Event
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
"""Amendments that send an order to the back of the queue at its price. A smaller amount does too here, although it
should not: at an unchanged price it is rare."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A live order that must be replaced: its state, and how many events it shares with Postgres' history.

    `contradicts` is true if it has published other events after those.
    """

    stands: Live
    in_common: int
    contradicts: bool


def restore(order_ids: Sequence[str], reason: str) -> set[str]:
    """Make live orders agree with Postgres; a no-op for those that do. Return the ids of the changed orders.

    An order that is finished in Postgres is not put back into an emptied Redis: its events are read from Postgres.
    Raises StoreError, DatabaseError.
    """
    if not order_ids:
        return set()
    rows = models.Order.objects.filter(pk__in=order_ids).prefetch_related("events", "attempts")
    here, told = live.statuses(order_ids), live.events(order_ids)
    # Read last, so that an amendment published in between does not look as if Redis had lost it.
    versions = live.versions(order_ids)
    anew = cache(lambda: epochs.advance("orders had contradicted Postgres"))
    placements, ahead = [], []
    for row in rows:
        events = [event_codec.load(text) for text in told.get(str(row.id), [])]
        older = versions.get(str(row.id), row.terms_seq) < row.terms_seq
        if made := placement(row, here.get(str(row.id)), events, anew, older=older):
            placements.append(made)
            ahead += [made.order.id] if len(made.events) > row.seq else []
    placed = placing.place(placements)
    # Their rows lack events that follow from an attempt: an order that was about to be submitted still seems to rest.
    live.feed_again([order_id for order_id in ahead if order_id in placed])
    done = [one for one in placements if one.order.id in placed]
    announce(done, reason)
    return placed


def announce(done: Sequence[Placement], reason: str) -> None:
    """Log and count the restored orders, and wake the order worker for those that can continue."""
    for field in named([one.order.id for one in done]):
        log.warning("orders restored", reason=reason, **field)
    metrics.restored(reason, len(done))
    going = [one.order.id for one in done if one.status not in FINAL and not rests(one)]
    if going:
        dispatch.send(dispatch.EXECUTE, going)


def rests(one: Placement) -> bool:
    """Return whether a placed order rests; it then belongs to the book, not the order worker."""
    return one.order.waits and one.status is Status.PENDING


def placement(
    row: models.Order, stands: Live | None, told: Sequence[Event], anew: Callable[[], int], *, older: bool = False
) -> Placement | None:
    """Make a live order from its row and events; None if Redis does not need it, or its pair is gone.

    An order that cannot be restored must not block the others. `anew` begins an epoch later than any of its events.
    `older` means that the live order has older terms than the row, so no attempt of it could ever be committed.
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
            # DBSync has written the events published in place of the amendment, so only the terms need repair.
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
    """Compare a live order with Postgres; None if what Redis has published is right or ahead."""
    shared = shared_by(known, told)
    if shared == len(known):
        # Redis has every event Postgres has. Being ahead is a conflict only if the order has ended in Postgres.
        behind_its_end = row.status in models.FINALS and len(told) > shared
        return Conflict(stands, shared, contradicts=True) if behind_its_end else None
    if shared == len(told):
        return Conflict(stands, shared, contradicts=False)
    if is_settled(row) or older or known[shared]["epoch"] > told[shared]["epoch"]:
        # Events of a later epoch than all that Redis has published already supersede it, without a new epoch.
        return Conflict(stands, shared, contradicts=known[shared]["epoch"] <= told[-1]["epoch"])
    # Redis went on from its earlier state before the loss was detected. DBSync writes those events to Postgres.
    return None


def shared_by(known: Sequence[Event], told: Sequence[Event]) -> int:
    """Count the leading events that two histories share; event 1 is always the same."""
    pairs = zip(known[1:], told[1:], strict=False)
    differ = (at for at, (a, b) in enumerate(pairs, 1) if (a["epoch"], a["at"]) != (b["epoch"], b["at"]))
    return next(differ, min(len(known), len(told)))


def is_settled(row: models.Order) -> bool:
    """Return whether Postgres has something no live state can undo: an end, or a sent transaction."""
    return row.status in models.FINALS or any(
        attempt.state in HOLDING_ATTEMPT and attempt.state != AttemptState.PREPARED for attempt in row.attempts.all()
    )


@step("anew", Store.POSTGRES, "an order's last events are committed with a new epoch")
def tell_anew(row: models.Order, known: Sequence[Event], in_common: int, epoch: int) -> list[Event]:
    """Give the events after `in_common` a new epoch, in Postgres and in the returned history.

    Returns an empty list if the order has changed in Postgres, because another process has done this already. The new
    epoch tells clients that saw the live order's own events that these are withdrawn. Raises StoreError when the epoch
    is over.
    """
    again = [*known[:in_common], *({**event, "epoch": epoch} for event in known[in_common:])]
    with transaction.atomic():
        now = models.Order.objects.select_for_update().prefetch_related("events").get(pk=row.pk)
        if version(now) != version(row):
            return []
        if epochs.newest() != epoch:
            raise StoreError("Redis was lost again while an order was being restored")
        models.OrderEvent.objects.filter(order_id=row.pk, seq__gt=in_common).delete()
        models.OrderEvent.objects.bulk_create(as_row(event) for event in again[in_common:])
        models.Order.objects.filter(pk=row.pk, seq__gt=in_common).update(epoch=epoch)
    return again


def version(row: models.Order) -> tuple[int, int, list[tuple[int, int]]]:
    """Return a value that changes whenever the order or its events change."""
    return row.epoch, row.seq, sorted((event.seq, event.epoch) for event in row.events.all())


def as_row(event: Event) -> models.OrderEvent:
    return models.OrderEvent(
        order_id=event["orderId"],
        seq=event["seq"],
        epoch=event["epoch"],
        status=event["status"],
        at=datetime.fromisoformat(event["at"]),
        attempt=event["attempt"],
        facts=event_codec.facts_of(event),
    )


def placement_of(row: models.Order, known: Sequence[Event]) -> Placement:
    """Make a live order from its row and events."""
    last, order = known[-1], terms.order_of(row)
    status = Status(last["status"])
    made = list(row.attempts.all())
    return Placement(
        order=order,
        status=status,
        # Attempt numbers are never reused, even if the claim that had one left no event.
        attempt=max([int(last["attempt"]), *(attempt.number for attempt in made)]),
        events=tuple(event_codec.dump(event) for event in known),
        # A limit order rests until its price comes. Any other order must be checked: its condition may hold already.
        look_in_ms=0 if only_rests(order) else SOON_MS,
        since=turn(row, known),
        base=not_counted(known, made),
        tx=last["txHash"] if status is Status.SUBMITTED else None,
    )


def not_counted(known: Sequence[Event], made: Sequence[models.Attempt]) -> int:
    """Count attempts that use up no try: before the order last rested, not sent, or in an outage that still lasts."""
    rested = max(int(event["attempt"]) for event in known if event["status"] == Status.PENDING)
    # One that is prepared is withdrawn by whoever claims its order next.
    unused = {one.number for one in made if one.state not in history.SENT and one.number > rested}
    last = known[-1]
    if last["kind"] == "retry" and last["retry"]["code"] in AWAY:
        unused.add(int(last["attempt"]))
    return rested + len(unused)


def only_rests(order: Order) -> bool:
    """Return whether an order may rest in the book without any check before its price comes."""
    return order.type is OrderType.LIMIT and order.time_in_force is not TimeInForce.IOC


def turn(row: models.Order, known: Sequence[Event]) -> int:
    """Return an order's time priority in epoch ms: its last price or amount amendment, otherwise its creation."""
    moved = [event["at"] for event in known if event["kind"] == "amended" and MOVES_BACK & event["amended"].keys()]
    return terms.epoch_ms(datetime.fromisoformat(moved[-1]) if moved else row.created_at)
