"""Moving orders: the one function through which a status changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings

from engine import events
from engine.lifecycle import FINAL, Status, check
from engine.orders import OrderType
from orders import archive, attempts, dispatch, live, observe, traces
from orders.lines import named
from orders.live import Swap
from routing.store import StoreError, now_ms

log = structlog.get_logger(__name__)

UNFILLED = FINAL - {Status.CONFIRMED}

ANY_FENCE = "*"
"""For moves out of `submitted`, which nobody holds: status and seq decide alone."""


@dataclass(frozen=True, slots=True)
class Move:
    """One order from where it is believed to be to where it should go."""

    order_id: str
    type: OrderType
    status: Status
    seq: int
    attempt: int
    steps: tuple[tuple[Status, Mapping[str, Any]], ...]
    """The statuses to go through, each with the facts its event states."""
    fence: str = ANY_FENCE
    keep: bool = False
    """Whether the mover goes on working on the order."""
    look_in_ms: int = 0
    """When it may be claimed again, if it is let go."""
    body: str = ""
    """What `bodies.dumps` made of the order, if it goes back to `pending` with other terms or in another place."""

    @property
    def to(self) -> Status:
        """Where it ends."""
        return self.steps[-1][0]


def advance(moves: Sequence[Move]) -> dict[str, tuple[str, ...]]:
    """Check each move against the table, swap the states atomically, append and publish their events.

    Returns the JSON events of each order that moved; one that is missing was moved by somebody else, or its fence has
    changed, or it was to end while an attempt of it may still land: whoever asked stops.  Raises IllegalStep for a
    move the table forbids, StoreError when Redis is away, DatabaseError when Postgres is and an order was to end.
    """
    at = now_ms()
    swaps = [swap(move, at) for move in moves]
    ending = [move.order_id for move in moves if move.to in UNFILLED]
    won = end(swaps, ending) if ending else live.advance(swaps)
    done = [move for move in moves if move.order_id in won]
    tell(done)
    traces.moved(done)
    wake_for_finals([move for move in done if move.to in FINAL])
    observe.moved((move.type, move.steps) for move in done)
    return {swap.order_id: swap.events for swap in swaps if swap.order_id in won}


def tell(done: Sequence[Move]) -> None:
    """Log orders that moved: one line for all that came to the same status."""
    by_status: dict[Status, list[str]] = {}
    for move in done:
        by_status.setdefault(move.to, []).append(move.order_id)
    for status, ids in by_status.items():
        for field in named(ids):
            log.info("orders moved", status=status, **field)


def end(swaps: Sequence[Swap], ending: Sequence[str]) -> set[str]:
    """Carry out swaps of which some end orders unfilled: those only if Postgres allows them no further attempt.

    Whoever wants to commit an attempt meanwhile waits for the outcome.  The end is in Postgres before anybody is told
    of it: an order that was cancelled must not rest again because Redis was lost before DBSync had read its end.
    """
    trouble: StoreError | None = None
    won: set[str] = set()
    with attempts.closing(ending) as closing:
        for order_id in set(ending) - closing.shut:
            log.warning("order not ended, an attempt may still land", order_id=order_id)
        barred = set(ending) - closing.shut
        try:
            won = live.advance([swap for swap in swaps if swap.order_id not in barred])
            ended = live.events([order_id for order_id in ending if order_id in won])
        except StoreError as reason:
            # Whether they ended is unknown: they stay closed, which is harmless, where an attempt would not be.
            trouble = reason
        else:
            closing.reopen(closing.shut - won)
            archive.end(ended)
    if trouble:
        raise trouble
    return won


def swap(move: Move, at: int) -> Swap:
    """Turn legal steps into one compare-and-set with their events."""
    return Swap(
        order_id=move.order_id,
        status=move.status,
        seq=move.seq,
        fence=move.fence,
        to=move.to,
        events=tuple(told(move, at)),
        look_in_ms=settings.ORDER_LEASE_MS if move.keep else move.look_in_ms,
        keep=move.keep,
        body=move.body,
    )


def told(move: Move, at: int) -> Iterator[str]:
    """Check each step and yield its event."""
    status = move.status
    for seq, (to, facts) in enumerate(move.steps, move.seq + 1):
        check(status, to)
        yield live.encode(events.event(move.order_id, seq, to, at, move.attempt, facts))
        status = to


def wake_for_finals(finished: Sequence[Move]) -> None:
    """Announce finished orders to DBSync, and failed ones to the dead-letter worker as well."""
    if finished:
        try:
            archive.nudge()
        except StoreError as reason:
            log.warning("dbsync not woken, beat will", reason=str(reason))
    failed = [move.order_id for move in finished if move.to is Status.FAILED]
    if failed:
        dispatch.send(dispatch.KEEP, failed)
