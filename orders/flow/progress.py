"""Move orders: `advance` checks each move and changes the status.

An ordinary move, a fill included, is one script in Redis: advance.lua. Ends without a fill and amendments go through
decisions.py: reserve.lua, a commit in Postgres, finish.lua. A status changes without `advance` in two cases:
`decisions.complete` finishes what another process reserved, and restoring.py replaces a live order that contradicts
Postgres.
"""

from collections.abc import Iterator, Sequence

import msgspec
import structlog
from django.conf import settings

from engine import events
from engine.event_kinds import Facts, Head, Submitted
from engine.lifecycle import FINAL, Status, check
from engine.orders import OrderType
from orders.flow import dbsync, decisions, dispatch
from orders.flow.decisions import Decision
from orders.stores import event_codec, swaps
from orders.stores.swaps import Becoming, Swap, Where
from orders.telemetry import metrics, traces
from orders.telemetry.log_fields import named
from routing import epochs
from routing.store import StoreError, now_ms

log = structlog.get_logger(__name__)

UNFILLED = FINAL - {Status.CONFIRMED}


class Move(msgspec.Struct, frozen=True):
    """A move of one order: its expected current state and the statuses to pass through."""

    order_id: str
    type: OrderType
    status: Status
    seq: int | None
    """Its last event; None for a move out of `submitted`, which is matched by `tx`."""
    attempt: int
    steps: tuple[Facts, ...]
    """The events of the statuses to pass through."""
    fence: str | None = None
    """The claim it is in; None for an unclaimed order, which is matched by status and seq alone."""
    tx: str | None = None
    """The transaction it is submitted as."""
    keep: bool = False
    """Whether the caller keeps its claim on the order."""
    look_in_ms: int = 0
    """When it may be claimed again, if it is released."""
    unused: bool = False
    """Whether the attempt does not count, because nothing could be tried."""
    body: str | None = None
    """The order encoded by `order_codec.dumps`, if it returns to `pending` with other terms or in another place."""
    amends: int | None = None
    """The version of the terms that an amendment changes."""
    at: int | None = None
    """When it happened, in epoch ms by the store's clock; None for now."""

    @property
    def to(self) -> Status:
        """The status of the last step."""
        return self.steps[-1].status

    @property
    def is_decision(self) -> bool:
        """Whether Postgres must commit the move before clients are told."""
        return self.to in UNFILLED or self.amends is not None

    @property
    def where(self) -> Where:
        """The expected current state."""
        return Where(self.order_id, self.status, self.seq, self.fence, self.tx)

    @property
    def becoming(self) -> Becoming:
        """The new state."""
        look_in_ms = settings.ORDER_LEASE_MS if self.keep else self.look_in_ms
        last = self.steps[-1]
        sent = last.tx_hash if isinstance(last, Submitted) else None
        return Becoming(self.to, look_in_ms, self.keep, self.unused, sent, self.body)


def advance(moves: Sequence[Move]) -> dict[str, tuple[str, ...]]:
    """Check each move against the state machine, change the states atomically, append and publish the events.

    Returns the JSON events of each order that moved. An order that is not in the result was moved by another process,
    or its fence has changed, or Postgres refused its end; the caller must then stop working on it. In a move matched by
    its transaction the seq in the JSON is 0. Raises IllegalStep for a transition the state machine forbids, StoreError
    when Redis is unreachable, and DatabaseError when Postgres is and an order was to end.
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
    """Carry out the moves that Redis decides, by compare-and-set."""

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
    status, at = move.status, events.moment(now if move.at is None else move.at)
    for place, facts in enumerate(move.steps, 1):
        check(status, facts.status)
        seq = 0 if move.seq is None else move.seq + place
        yield event_codec.encode(Head(move.order_id, epoch, seq, facts.status, at, move.attempt), facts)
        status = facts.status


def tell(done: Sequence[Move]) -> None:
    """Log the orders that moved, grouped by their new status."""
    by_status: dict[Status, list[str]] = {}
    for move in done:
        by_status.setdefault(move.to, []).append(move.order_id)
    for status, ids in by_status.items():
        for field in named(ids):
            log.info("orders moved", status=status, **field)


def wake_for_finals(finished: Sequence[Move]) -> None:
    """Wake DBSync for finished orders, and the dead-letter worker for failed ones."""
    if finished:
        try:
            dbsync.nudge()
        except StoreError as reason:
            log.warning("dbsync not woken, beat will wake it", reason=str(reason))
    failed = [move.order_id for move in finished if move.to is Status.FAILED]
    if failed:
        dispatch.send(dispatch.KEEP, failed)
