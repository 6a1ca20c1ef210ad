"""Accept orders: commit one row each, then write the live state and event 1 and send the wake-up.

An order is accepted once its row is committed. If its live state is not written, recovery restores it from Postgres
within seconds; if only the wake-up is lost, the sweep or beat wakes a worker.
"""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from engine import events
from engine.event_kinds import Head, Pending
from engine.lifecycle import Status
from engine.orders import Order
from orders.flow import admission, balances, dispatch, waiting
from orders.flow.pauses import Paused, pauses
from orders.flow.restoring import only_rests
from orders.flow.trading_limits import Rejected, tell
from orders.stores import event_codec, live, order_rows, placing, retired, terms
from orders.stores.balances import Short
from orders.stores.ids import new_id
from orders.stores.order_rows import Committed
from orders.stores.placing import Placement
from orders.stores.retired import Standing
from orders.stores.rows import fetch_as
from orders.telemetry import metrics, traces
from orders.telemetry.log_fields import about, request_id
from routing.store import StoreError

log = structlog.get_logger(__name__)

SPELLED = dict(zip(Pending.__struct_fields__, Pending.__struct_encode_fields__, strict=True))
"""Names of an order's terms, by the names they have on the wire: part of each stored fingerprint."""
TRIES = 20
"""Tries of a group whose balances others spend meanwhile; each failure means that another group was committed."""


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order to be accepted; `key` is the id of the API key that asks for it."""

    order: Order
    replay_of: str | None = None
    key: int | None = None
    door: traces.Door | None = field(default_factory=traces.door, compare=False, repr=False)
    """The traced request it arrived with, if any: one group holds orders from many requests."""
    request_id: str = field(default_factory=request_id.get, compare=False, repr=False)

    @classmethod
    def replay(cls, dead: Order, key: int | None) -> "NewOrder":
        """Return a replay of a dead order that this API key had placed, under a new id."""
        return cls(replace(dead, id=new_id(), client_order_id=None), replay_of=dead.id, key=key)

    @property
    def fingerprint(self) -> str:
        """Hash the request: equal for a repeat, different for another order under the same client order id."""
        order = self.order
        asked = (order.type, order.pair.token_in.mint, order.pair.token_out.mint, order.amount_in, order.slippage_bps)
        stated = {SPELLED[name]: value for name, value in events.terms(order).items()}
        return hashlib.sha256(repr((*asked, stated) if stated else asked).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to one client: the order's current state."""

    order_id: str
    status: Status
    created_at: datetime
    repeat: bool = False


class Conflict(Exception):
    """The client order id already names a different order."""

    def __init__(self, client_order_id: str, order_id: str) -> None:
        super().__init__(client_order_id, order_id)
        self.client_order_id, self.order_id = client_order_id, order_id


def place(asked: Sequence[NewOrder]) -> list[Accepted | Conflict | Paused | Rejected]:
    """Accept a batch in one committed statement; return one answer per order, in the batch's sequence.

    A client order id that is taken returns the order it names, or Conflict if that order differs. This also works
    during a pause, and beyond a limit, so that a client that lost the answer to an accepted order can still get it.
    """
    kept_out = refused(asked)
    allowed = [one for one in asked if one.order.id not in kept_out] if kept_out else asked
    short: dict[str, Rejected] = {}
    with traces.work("accept", [one.order.id for one in asked], found=False):
        inserted, rejected = admission.admit(
            [(one.order, one.key) for one in allowed],
            lambda without: covered([one for one in allowed if one.order.id not in without], short),
        )
        new = [(one, inserted[one.order.id]) for one in asked if one.order.id in inserted]
        announce(new)
    taken = {**kept_out, **rejected, **short, **standing([one for one in asked if one.order.id not in inserted])}
    return [
        Accepted(one.order.id, Status.PENDING, inserted[one.order.id].created_at)
        if one.order.id in inserted
        else taken[one.order.id]
        for one in asked
    ]


def accept(asked: Sequence[NewOrder]) -> list[Accepted]:
    """Accept a batch.

    Raises Conflict, Paused, Rejected.
    """
    answers = []
    for answer in place(asked):
        if isinstance(answer, Exception):
            raise answer
        answers.append(answer)
    return answers


def refused(asked: Sequence[NewOrder]) -> dict[str, Paused]:
    """Return the orders that a pause keeps out, by id."""
    now = pauses()
    if not now.stops:
        return {}
    found = {one.order: now.keeping_out(one.order.pair, one.order.owner, one.key) for one in asked}
    return {order.id: Paused(stop, order.pair) for order, stop in found.items() if stop}


def covered(asked: Sequence[NewOrder], short: dict[str, Rejected]) -> dict[str, Committed]:
    """Commit the orders that their accounts' balances cover, first come first served; `short` gets the others.

    The statement that commits the rows reserves what they sell, and fails as a whole if that is more than there is.
    What is left is read only then, so nothing is locked while it is shared out.  Raises DatabaseError.
    """
    for _ in range(TRIES):
        try:
            inserted = insert([one for one in asked if one.order.id not in short])
        except Short:
            # What stands already reserves nothing.
            stands = standing([one for one in asked if one.order.client_order_id or one.replay_of])
            short.clear()
            short |= balances.short_of([one.order for one in asked if one.order.id not in stands])
        else:
            tell(short)
            return inserted
    short.clear()
    raise OperationalError(f"balances changed {TRIES} times while a group of orders was being committed; try again")


def insert(asked: Sequence[NewOrder]) -> dict[str, Committed]:
    """Commit the rows; return what the database says of each new one."""
    if not asked:
        return {}
    try:
        with transaction.atomic() if connection.in_atomic_block else nullcontext():  # a savepoint: it may fail
            return write(asked)
    except IntegrityError:
        # Raised by the trigger `orders_once_for_good`. Repeats of retired orders are rare, so only they pay a look-up.
        names = retired.taken([one.order.client_order_id for one in asked], [one.replay_of for one in asked])
        new = [
            one
            for one in asked
            if names.isdisjoint({(owner, one.order.client_order_id) for owner in (one.order.owner, None)})
            and (None, one.replay_of) not in names
        ]
        if len(new) == len(asked):
            raise
    return insert(new)


def write(asked: Sequence[NewOrder]) -> dict[str, Committed]:
    """Commit the rows, all or none.

    Raises IntegrityError if one of them repeats a retired order, Short if a balance does not cover them.
    """
    may_repeat = any(one.order.client_order_id or one.replay_of for one in asked)
    return order_rows.insert([as_row(one) for one in asked], may_repeat=may_repeat)


def as_row(asked: NewOrder) -> dict[str, Any]:
    order = asked.order
    row: dict[str, Any] = {
        "id": order.id,
        "owner": order.owner,
        "api_key": asked.key,
        "type": order.type,
        "pair": order.pair.name,
        "amount_in": order.amount_in,
        "slippage_bps": order.slippage_bps,
        "client_order_id": order.client_order_id,
        # What has no name is never repeated.
        "fingerprint": asked.fingerprint if order.client_order_id or asked.replay_of else "",
        "replay_of": asked.replay_of,
    }
    if order.amount_out is not None:
        row["amount_out"] = order.amount_out
    if order.waits:
        row |= {**terms.as_columns(order), "allow_unknown": order.allow_unknown}
        row["trigger"] = [condition.as_dict() for condition in order.trigger]
    return row


def standing(repeats: Sequence[NewOrder]) -> dict[str, Accepted | Conflict]:
    """Answer the orders whose client order id, or replay, already has a row."""
    if not repeats:
        return {}
    rows = fetch_as(
        Standing,
        """
        SELECT id::text, status, created_at, fingerprint, owner_id AS owner, client_order_id,
               replay_of_id::text AS replay_of
        FROM orders_order WHERE client_order_id = ANY(%s) OR replay_of_id = ANY(%s::uuid[])
        """,
        [one.order.client_order_id for one in repeats],
        [one.replay_of for one in repeats],
    )
    missing = [one for one, row in zip(repeats, named(repeats, rows), strict=True) if row is None]
    if missing:
        # Retired orders are searched last, so that an order retired between the two queries is found here.
        rows += retired.standing([one.order.client_order_id for one in missing], [one.replay_of for one in missing])
    found = zip(repeats, named(repeats, rows), strict=True)
    return {one.order.id: verdict(one, row) for one, row in found if row}


def named(repeats: Sequence[NewOrder], rows: Sequence[Standing]) -> list[Standing | None]:
    """Return the row that each names: its account's, or that of an order older than accounts."""
    found = {(row.owner, row.client_order_id, row.replay_of): row for row in rows}
    what = [(one.order.owner, one.order.client_order_id, one.replay_of) for one in repeats]
    return [found.get(key) or found.get((None, *key[1:])) for key in what]


def verdict(asked: NewOrder, row: Standing) -> Accepted | Conflict:
    """Distinguish a repeat from a conflict."""
    if row.fingerprint != asked.fingerprint:
        return Conflict(asked.order.client_order_id or "", row.id)
    return Accepted(row.id, Status(row.status), row.created_at, repeat=True)


def announce(new: Sequence[tuple[NewOrder, Committed]]) -> None:
    """Write the live state and event 1 of accepted orders and wake a worker. A failure cannot undo the acceptance."""
    if not new:
        return
    metrics.accepted(one.order.type for one, _ in new)
    traces.accepted((one.order.id, one.door, one.replay_of) for one, _ in new)
    ids = [one.order.id for one, _ in new]
    try:
        placing.place([placement(one.order, row.created_at, row.epoch) for one, row in new])
    except StoreError as reason:
        log.warning("live state not written, recovery will restore it", reason=str(reason), **about(ids))
        return
    try:
        wake([one.order for one, _ in new])
    except (StoreError, DatabaseError) as reason:
        log.warning("worker not woken, the sweep or beat will retry", reason=str(reason), **about(ids))


def wake(accepted: Sequence[Order]) -> None:
    """Wake workers for new orders: market orders execute at once, the others are checked against the current market."""
    market = [order.id for order in accepted if not order.waits]
    if market:
        dispatch.send(dispatch.EXECUTE, market)
    if len(market) < len(accepted):
        waiting.look([order for order in accepted if order.waits])


def placement(order: Order, created_at: datetime, epoch: int) -> Placement:
    """Make the live state of an order just accepted. The sweep does not check an order that only rests."""
    at = terms.epoch_ms(created_at)
    if not order.waits:
        order = replace(order, deadline=at + settings.ORDER_DEADLINE_S * 1000)
    head = Head(order.id, epoch, 1, Status.PENDING, events.moment(at), 0)
    look_in_ms = 0 if only_rests(order) else live.GRACE_MS
    return Placement(order, Status.PENDING, 0, (event_codec.encode(head, events.pending(order)),), look_in_ms, since=at)
