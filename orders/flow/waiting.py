"""Resting orders: amend, cancel and expire them.

Every change to a resting order begins with a compare-and-set on its live state: firing is that alone; an amendment, a
cancellation and an expiry reserve the order with it, commit in Postgres and are then published. Of two changes at the
same instant one wins, and the caller of the other learns which one.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import structlog
from django.db.models import Q

from engine import event_kinds, events
from engine.lifecycle import Status
from engine.orders import Order, OrderType, TimeInForce
from orders import models
from orders.flow import admission, decisions, dispatch, limits, progress, recovery, restoring
from orders.flow.pauses import Stop, pauses
from orders.flow.progress import Move
from orders.flow.recovery import EVERY
from orders.flow.restoring import only_rests
from orders.models import Scope
from orders.stores import book, live, order_codec, retired
from orders.stores.live import Standing
from orders.telemetry.log_fields import about
from routing.catalogue import catalogue
from routing.store import now_ms

log = structlog.get_logger(__name__)

EXPIRED_MAX = 500
TRIES = 5
"""Tries of a cancellation that loses to amendments before it gives up; each amendment is a deliberate request."""
ALL_WITHIN_S = 20.0
"""Time limit for cancelling all orders of a pair; after it, the result says that some are left."""


class NotResting(Exception):
    """The order is no longer resting, or never was; `status` is its current status."""

    def __init__(self, order_id: str, status: Status, seq: int) -> None:
        super().__init__(order_id, status, seq)
        self.order_id, self.status, self.seq = order_id, status, seq


class Changed(Exception):
    """The order has moved on since the caller read it at `known`; `seq` is its last event now."""

    def __init__(self, order_id: str, seq: int, known: int) -> None:
        super().__init__(order_id, seq, known)
        self.order_id, self.seq, self.known = order_id, seq, known


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The result of cancelling all: orders cancelled, orders that moved on first, and whether none is left."""

    cancelled: int
    lost: int
    complete: bool


def look(orders: Sequence[Order]) -> None:
    """Wake workers for orders that are new or back in the book, in case what they wait for is there already."""
    limits.price_changed({order.pair.name for order in orders if only_rests(order)})
    impatient = [order.id for order in orders if order.time_in_force is TimeInForce.IOC]
    if impatient:
        dispatch.send(dispatch.FIRE, impatient)
    armed = [order.id for order in orders if order.type is OrderType.SNIPER]
    if armed:
        dispatch.send(dispatch.EVALUATE, armed)


def resume(order_ids: Sequence[str]) -> None:
    """Return orders whose wait outside the book is over to it and check them; cancel those that a halt cancels."""
    standing = live.standing(order_ids)
    stopped = {i: stop for i, one in standing.items() if (stop := cancelling(one))}
    progress.advance([cancellation(standing[i], by_halt(stop)) for i, stop in stopped.items()])
    staying = [one.order for i, one in standing.items() if i not in stopped]
    live.rest([order.id for order in staying if only_rests(order)])
    look(staying)


def cancelling(one: Standing) -> Stop | None:
    """Return the halt that cancels a resting order, whatever else stops it besides."""
    covering = pauses().covering(one.order.pair.name, owner=one.order.owner) if one.status is Status.PENDING else ()
    return next((stop for stop in covering if stop.cancels_resting), None)


def by_halt(stop: Stop) -> event_kinds.Cancelled:
    """Return the last event of a resting order that a halt cancels."""
    return event_kinds.Cancelled(f"cancelled by the operator: {stop}", stop.failure.code)


def cancel(order_id: str, reason: str = "cancelled by the client") -> None:
    """Cancel an order that has not begun to execute.

    Raises NotResting with the status that won, StoreError, DatabaseError.
    """
    for _ in range(TRIES):
        one = found(order_id)
        if one.status is not Status.PENDING:
            break
        if progress.advance([cancellation(one, event_kinds.Cancelled(reason))]):
            log.info("order cancelled", order_id=order_id, reason=reason)
            return
        # Another process may be ending or amending the order. Complete that first: its result decides.
        decisions.complete([order_id])
    one = found(order_id)
    raise NotResting(order_id, one.status, one.seq)


def cancellation(one: Standing, end: event_kinds.Cancelled) -> Move:
    return Move(one.order.id, one.order.type, one.status, one.seq, one.attempt, (end,))


def found(order_id: str) -> Standing:
    """Return an order's current state, restored from Postgres if Redis has lost it.

    Raises NotResting for one that is finished and gone from Redis.
    """
    one = all_standing([order_id]).get(order_id)
    if one is None:
        row = retired.row(order_id)
        if row is None:
            raise models.Order.DoesNotExist(f"there is no order {order_id}")
        raise NotResting(order_id, Status(row.status), row.seq)
    return one


def cancel_all(pair: str | None, kind: OrderType | None = None, owner: int | None = None) -> Cancelled:
    """Cancel every resting order of a pair, or of one account, within ALL_WITHIN_S, also those that Redis has lost."""
    which = (of_pair(pair) if pair else EVERY) & (Q(type=kind) if kind else EVERY)
    all_of = "all of the pair" if pair else "all"
    return cancel_each(
        which & (EVERY if owner is None else Q(owner=owner)), event_kinds.Cancelled(f"{all_of} cancelled by the client")
    )


def cancel_halted(stop: Stop) -> Cancelled:
    """Cancel every resting order that a halt covers within ALL_WITHIN_S, including those that Redis has lost.

    Those that come back to rest later are cancelled by `resume`.
    """
    covered = {
        Scope.PAIR: lambda: of_pair(stop.name),
        Scope.USER: lambda: Q(owner=stop.subject),
        Scope.KEY: lambda: of_key(stop.subject or 0),
    }
    return cancel_each(covered[stop.scope]() if stop.scope in covered else EVERY, by_halt(stop))


def of_key(key: int) -> Q:
    """Match what was placed with an API key, by the index of its owner's waiting orders."""
    return Q(owner__in=models.ApiKey.objects.filter(pk=key).values("owner"), api_key=key)


def cancel_each(which: Q, end: event_kinds.Cancelled) -> Cancelled:
    """Cancel the resting orders among these, within ALL_WITHIN_S."""
    deadline, pages = monotonic() + ALL_WITHIN_S, cancel_pages(which, end)
    done = next(pages)
    while not done.complete and monotonic() <= deadline:
        done = next(pages)
    return done


def cancel_pages(which: Q, end: event_kinds.Cancelled) -> Iterator[Cancelled]:
    """Cancel the resting orders among these, page by page; yield what is done so far before each page and at the end.

    An order that has fired according to Postgres may be back in the book since. If it is not, it does not count as
    lost.
    """
    cancelled = lost = 0
    for ids, asked_for in known_of(which):
        yield Cancelled(cancelled, lost, complete=False)
        pending = [one for one in all_standing(ids).values() if one.status is Status.PENDING]
        won = progress.advance([cancellation(one, end) for one in pending])
        cancelled += len(won)
        lost += len(ids if asked_for else pending) - len(won)
    log.info("orders cancelled", reason=end.reason, orders=cancelled, lost=lost)
    yield Cancelled(cancelled, lost, complete=True)


def all_standing(order_ids: Sequence[str]) -> dict[str, Standing]:
    """Return the current state of these orders, restored from Postgres where Redis has lost them."""
    standing = live.standing(order_ids)
    gone = [order_id for order_id in order_ids if order_id not in standing]
    restoring.restore(gone, "missing from Redis")
    return {**standing, **live.standing(gone)}


def known_of(which: Q) -> Iterator[tuple[list[str], bool]]:
    """Yield pages of ids of those orders that may be resting, each with whether they rest according to Postgres."""
    which &= ~Q(type=OrderType.MARKET)
    for ids in recovery.waiting(which):
        yield ids, True
    for ids in recovery.moving(0, which):
        yield ids, False


def of_pair(pair: str) -> Q:
    """Match a pair's orders under both of its names: those placed before its token was listed use its mint."""
    known = catalogue().pair(pair)
    return Q(pair__in=[known.name, f"{known.token_in.symbol}-{known.token_out.mint}"])


def amend(order_id: str, seq: int, changes: Mapping[str, Any], keys: Set[int] = frozenset()) -> None:
    """Change a resting order's terms if its last event is `seq`; `changes` are fields of the engine's Order.

    `keys` are the API keys that placed and that amend it. The terms and the event are committed before clients are
    told. Raises NotResting, Changed, Paused, Rejected, StoreError, DatabaseError.
    """
    one = found(order_id)
    refuse_unless(one, seq)
    after = replace(one.order, **changes)
    if after == one.order:
        return
    admission.amended(after, keys)
    after = replace(after, terms_seq=seq + 1)
    if not progress.advance([amendment(one, after)]):
        decisions.complete([order_id])
        now = found(order_id)
        refuse_unless(now, seq)
        # Its account's balance may have been spent meanwhile.
        admission.amended(after, keys)
        raise Changed(order_id, now.seq, seq)
    log.info("order amended", order_id=order_id, changed=sorted(changes))
    look([after])


def refuse_unless(one: Standing, seq: int) -> None:
    """Refuse an order that does not rest, or whose last event is not `seq`.

    Raises NotResting, Changed.
    """
    if one.status is not Status.PENDING or not one.order.waits:
        raise NotResting(one.order.id, one.status, one.seq)
    if one.seq != seq:
        raise Changed(one.order.id, one.seq, seq)


def amendment(one: Standing, after: Order) -> Move:
    """Make the move of an amended order to its new place in the book."""
    turn = limits.since(after, one.order, one.since, now_ms())
    return Move(
        one.order.id,
        after.type,
        one.status,
        one.seq,
        one.attempt,
        (events.amended(one.order, after),),
        body=order_codec.dumps(after, turn),
        amends=one.order.terms_seq,
    )


def expire() -> int:
    """End orders that have expired, by the store's clock; return how many were due."""
    now = now_ms()
    due = book.expired(now, EXPIRED_MAX)
    if not due:
        return 0
    standing = live.standing(due)
    over = [one for one in standing.values() if one.status is Status.PENDING and limits.is_over(one.order, now)]
    won = progress.advance([expiry(one) for one in over])
    if won:
        log.info("orders expired", **about(won))
    # Some of the others may be reserved, for their expiry or another change, by a worker that has gone.
    decisions.complete([one.order.id for one in over if one.order.id not in won])
    # By status alone: an order whose pair this process does not know is missing from `standing` but still rests.
    here = live.statuses(due)
    book.forget_expiry([i for i in due if i not in here or here[i].status is not Status.PENDING], now)
    return len(due)


def expiry(one: Standing) -> Move:
    return Move(one.order.id, one.order.type, one.status, one.seq, one.attempt, (events.expired(one.order),))
