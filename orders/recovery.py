"""Rebuilding Redis from Postgres: the guarantee behind a lost Redis, as the sweep is behind every lost message."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain, count, takewhile
from operator import attrgetter
from typing import Any

import structlog
from django.db.models import Q
from django.db.models.functions import Now

from engine import events
from engine.lifecycle import FINAL, Status
from engine.orders import OrderType, TimeInForce
from orders import archive, control, dispatch, live, models, terms
from orders.lines import named
from orders.live import Placement
from routing.catalogue import UnknownPair

log = structlog.get_logger(__name__)

PAGE = 500
SOON_MS = 1
MOVES_BACK = {"limitPrice", "amountIn"}
"""Amendments that send an order to the back of the queue at its price; less of the same at the same price is rare."""
EVERY = Q()
SETTLED_IN_S = 2
"""Age from which an order open in Postgres ought to be in Redis."""


def recover() -> None:
    """Compare Postgres with Redis and repair Redis: everything after it was emptied, what is missing otherwise.

    Orders that rest may be a million: unless Redis was emptied, orders/stocktaking.py looks after them, at leisure; if
    it was, one process rebuilds, and the others have their threads for orders that move.
    """
    if live.was_emptied():
        if live.begin_rebuild():
            try:
                rebuild_all()
            finally:
                live.end_rebuild()
        return
    restored = sum(map(repair, moving(SETTLED_IN_S)))
    if restored:
        log.warning("orders missing from redis restored", orders=restored)


def rebuild_all() -> None:
    """Put every unfinished order back into Redis, those that move first."""
    control.mirror()
    restored = 0
    for order_ids in chain(moving(0), waiting()):
        restored += repair(order_ids)
        live.rebuilding()
    live.mark_rebuilt()
    log.warning("live state rebuilt", orders=restored)


def moving(older_than_s: int, which: Q = EVERY) -> Iterator[list[str]]:
    """Yield pages of ids of orders that Postgres holds as unfinished and that do not rest."""
    # In the order of the partial index on these orders, so that no plan walks through the others.
    rows = models.Order.objects.filter(models.MOVING, which).order_by("created_at", "pk")
    rows = rows.filter(created_at__lt=Now() - timedelta(seconds=older_than_s))
    further = rows
    while page := list(further.values_list("pk", "created_at")[:PAGE]):
        yield [str(pk) for pk, _ in page]
        if len(page) < PAGE:
            return
        last, at = page[-1]
        further = rows.filter(created_at__gte=at).exclude(created_at=at, pk__lte=last)


def waiting(which: Q = EVERY) -> Iterator[list[str]]:
    """Yield pages of ids of orders that rest, as far as Postgres knows."""
    rows = models.Order.objects.filter(models.WAITING, which).order_by("pk").values_list("pk", flat=True)
    page = list(rows[:PAGE])
    while page:
        yield [str(pk) for pk in page]
        page = list(rows.filter(pk__gt=page[-1])[:PAGE])


def repair(order_ids: Sequence[str]) -> int:
    """Restore those that Redis lacks, and send finished ones to the archive again; return how many were restored."""
    here = live.statuses(order_ids)
    missing = [order_id for order_id in order_ids if order_id not in here]
    rebuild(missing)
    rearchive([order_id for order_id, (status, _) in here.items() if status in FINAL])
    return len(missing)


def rearchive(finished: Sequence[str]) -> None:
    """Feed finished orders to DBSync again whose entries it never got; with a backlog they may yet come."""
    if finished and archive.backlog() == 0:
        live.feed_again(finished)
        archive.nudge()


def rebuild(order_ids: Sequence[str]) -> None:
    """Put orders back into Redis as Postgres and their attempts know them; harmless for one that is there.

    One that Postgres holds as finished stays out: whatever its archive lacks, it must never move again.
    """
    if not order_ids:
        return
    rows = models.Order.objects.filter(pk__in=order_ids).exclude(status__in=models.FINALS)
    placements = [p for p in map(placement, rows.prefetch_related("events", "attempts")) if p]
    placed = live.place(placements)
    for field in named(placed):
        log.info("orders rebuilt", asked=len(order_ids), **field)
    going = [p.order.id for p in placements if p.order.id in placed and p.status not in FINAL and not rests(p)]
    if going:
        dispatch.send(dispatch.EXECUTE, going)


def rests(one: Placement) -> bool:
    """Tell whether a placed order waits, which is the book's business."""
    return one.order.waits and one.status is Status.PENDING


def placement(row: models.Order) -> Placement | None:
    """Make a live order of its row and its events; None when its pair is gone, which must not stop the others."""
    try:
        return placement_of(row, history(row))
    except UnknownPair as reason:
        log.error("order not rebuilt, its pair is not in the catalogue", order_id=str(row.id), pair=str(reason))
        return None


def placement_of(row: models.Order, known: Sequence[dict[str, Any]]) -> Placement:
    """Make a live order of its row and the events it has."""
    last, order = known[-1], terms.order_of(row)
    return Placement(
        order=order,
        status=Status(last["status"]),
        attempt=int(last["attempt"]),
        events=tuple(live.encode(event) for event in known),
        # A limit order rests until its price comes; of the others somebody must look what has come already.
        look_in_ms=0 if order.type is OrderType.LIMIT and order.time_in_force is not TimeInForce.IOC else SOON_MS,
        since=turn(row, known),
        base=max(event["attempt"] for event in known if event["status"] == Status.PENDING),
    )


def turn(row: models.Order, known: Sequence[dict[str, Any]]) -> int:
    """Return an order's turn in the book: since when it has asked for this price and no less, in epoch milliseconds."""
    moved = [event["at"] for event in known if MOVES_BACK & event.get("amended", {}).keys()]
    return terms.epoch_ms(datetime.fromisoformat(moved[-1]) if moved else row.created_at)


def first_event(row: models.Order) -> dict[str, Any]:
    """Make event 1, which the row alone determines."""
    at = int(row.created_at.timestamp() * 1000)
    return events.event(str(row.id), 1, Status.PENDING, at, 0, events.pending(terms.order_of(row)))


def history(row: models.Order) -> list[dict[str, Any]]:
    """Gather what Postgres knows of an order's events."""
    return merged(row, row.events.all(), row.attempts.all())


def merged(
    row: models.Order, told: Iterable[models.OrderEvent], attempts: Iterable[models.Attempt]
) -> list[dict[str, Any]]:
    """Merge the archive, the attempts' trails, and event 1; without gaps."""
    known = {1: first_event(row)}
    for attempt in sorted(attempts, key=attrgetter("seq")):
        known |= {event["seq"]: event for event in attempt.trail}
        if attempt.seq == 1 + max(known):
            known[attempt.seq] = submission(row, attempt)
    known |= {event.seq: as_wire(event) for event in told}
    return [known[seq] for seq in takewhile(known.__contains__, count(1))]


def submission(row: models.Order, attempt: models.Attempt) -> dict[str, Any]:
    """Make the `submitted` event that an attempt determines."""
    at = int(max(attempt.created_at, row.created_at).timestamp() * 1000)
    facts = events.submitted(attempt.venue, attempt.signature, attempt.last_valid_height)
    return events.event(str(row.id), attempt.seq, Status.SUBMITTED, at, attempt.number, facts)


def as_wire(event: models.OrderEvent) -> dict[str, Any]:
    """Write an archived event as clients read it."""
    at = int(event.at.timestamp() * 1000)
    return events.event(str(event.order_id), event.seq, Status(event.status), at, event.attempt, event.facts)
