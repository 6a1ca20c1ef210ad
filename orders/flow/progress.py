"""Moving orders: the one function through which a status changes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from django.conf import settings

from engine import events
from engine.lifecycle import FINAL, Status, check
from engine.orders import OrderType
from orders.flow import dbsync, decisions, dispatch
from orders.flow.decisions import Decision
from orders.stores import live, swaps
from orders.stores.swaps import Becoming, Swap, Where
from orders.telemetry import metrics, traces
from orders.telemetry.log_fields import named
from routing import epochs
from routing.store import StoreError, now_ms

log = structlog.get_logger(__name__)

UNFILLED = FINAL - {Status.CONFIRMED}


class Move(msgspec.Struct, frozen=True):
    """One order from where it is believed to be to where it should go."""

    order_id: str
    type: OrderType
    status: Status
    seq: int | None
    """Its last event; None for a move out of `submitted`, which goes by `tx`."""
    attempt: int
    steps: tuple[tuple[Status, Mapping[str, Any]], ...]
    """The statuses to go through, each with the facts its event states."""
    fence: str | None = None
    """The claim it is in; None for an order that nobody holds, where status and seq decide alone."""
    tx: str | None = None
    """The transaction it is submitted as."""
    keep: bool = False
    """Whether the mover goes on working on the order."""
    look_in_ms: int = 0
    """When it may be claimed again, if it is let go."""
    unused: bool = False
    """Whether the attempt does not count: nothing could be tried."""
    body: str | None = None
    """What `bodies.dumps` made of the order, if it goes back to `pending` with other terms or in another place."""
    amends: int | None = None
    """The version of the terms that an amendment changes."""
    at: int | None = None
    """When it happened, epoch ms by the store's clock; None for now."""

    @property
    def to(self) -> Status:
        """Where it ends."""
        return self.steps[-1][0]

    @property
    def is_decision(self) -> bool:
        """Tell whether Postgres must commit it before anybody is told."""
        return self.to in UNFILLED or self.amends is not None

    @property
    def where(self) -> Where:
        """Where the order is believed to stand."""
        return Where(self.order_id, self.status, self.seq, self.fence, self.tx)

    @property
    def becoming(self) -> Becoming:
        """Where it goes."""
        look_in_ms = settings.ORDER_LEASE_MS if self.keep else self.look_in_ms
        sent = self.steps[-1][1]["txHash"] if self.to is Status.SUBMITTED else None
        return Becoming(self.to, look_in_ms, self.keep, self.unused, sent, self.body)


def advance(moves: Sequence[Move]) -> dict[str, tuple[str, ...]]:
    """Check each move against the table, swap the states atomically, append and publish their events.

    Returns the JSON events of each order that moved; one that is missing was moved by somebody else, or its fence has
    changed, or Postgres refused its end: whoever asked stops.  Of a move that goes by its transaction the seq in the
    JSON is 0.  Raises IllegalStep for a move the table forbids, StoreError when Redis is away, DatabaseError when
    Postgres is and an order was to end.
    """
    at = now_ms()
    won = swap([move for move in moves if not move.is_decision], at)
    won |= decide([move for move in moves if move.is_decision], at)
    done = [move for move in moves if move.order_id in won]
    tell(done)
    traces.moved(done)
    wake_for_finals([move for move in done if move.to in FINAL])
    metrics.moved((move.type, move.steps) for move in done)
    return won


def swap(moves: Sequence[Move], now: int) -> dict[str, tuple[str, ...]]:
    """Carry out moves that Redis decides."""

    def attempt(epoch: int) -> dict[str, tuple[str, ...]]:
        asked = [Swap(move.where, move.becoming, tuple(told(move, epoch, now))) for move in moves]
        won = swaps.advance(epoch, asked)
        return {one.where.order_id: one.events for one in asked if one.where.order_id in won}

    return epochs.within(attempt) if moves else {}


def decide(moves: Sequence[Move], now: int) -> dict[str, tuple[str, ...]]:
    """Carry out ends and amendments, which Postgres decides."""

    def asked(epoch: int) -> list[Decision]:
        return [Decision(move.where, move.becoming, tuple(told(move, epoch, now)), move.amends) for move in moves]

    return decisions.decide(asked) if moves else {}


def told(move: Move, epoch: int, now: int) -> Iterator[str]:
    """Check each step and yield its event."""
    status, at = move.status, now if move.at is None else move.at
    for place, (to, facts) in enumerate(move.steps, 1):
        check(status, to)
        seq = 0 if move.seq is None else move.seq + place
        yield live.encode(events.event(move.order_id, epoch, seq, to, at, move.attempt, facts))
        status = to


def tell(done: Sequence[Move]) -> None:
    """Log orders that moved: one line for all that came to the same status."""
    by_status: dict[Status, list[str]] = {}
    for move in done:
        by_status.setdefault(move.to, []).append(move.order_id)
    for status, ids in by_status.items():
        for field in named(ids):
            log.info("orders moved", status=status, **field)


def wake_for_finals(finished: Sequence[Move]) -> None:
    """Announce finished orders to DBSync, and failed ones to the dead-letter worker as well."""
    if finished:
        try:
            dbsync.nudge()
        except StoreError as reason:
            log.warning("dbsync not woken, beat will", reason=str(reason))
    failed = [move.order_id for move in finished if move.to is Status.FAILED]
    if failed:
        dispatch.send(dispatch.KEEP, failed)
