"""Spans of an order's own stages, each from the previous event to the event that ended it."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Protocol

from msgspec import to_builtins

from engine.event_kinds import Facts, Failed, Retry, Returned, Wait
from engine.lifecycle import Status
from orders.telemetry.traces import spans
from orders.telemetry.traces.pieces import doing, parent_of, touch
from orders.telemetry.traces.records import ROOT, Link, Span, Told
from orders.telemetry.traces.spans import new_id, on, trace_of

BEGUN_MAX = 20_000
"""Maximum number of orders whose stage's start is remembered."""

STAGES = {
    Status.PENDING: "route",
    Status.TRIGGERED: "route",
    Status.ROUTING: "route",
    Status.BUILDING: "build",
    Status.SUBMITTED: "settle",
}
"""The work done on an order in each status. Waiting is not work, and has no span."""
ACTS = {Status.TRIGGERED: "trigger", Status.CANCELLED: "cancel", Status.EXPIRED: "expire"}
"""Instantaneous actions, by the status they lead to."""
SHOWN = ("venue", "reason", "txHash", "executedPrice", "code")
"""Facts that are also copied to a stage's own attributes, besides its events."""


class Moved(Protocol):
    """What a move reports about its order."""

    @property
    def order_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def status(self) -> Status: ...
    @property
    def attempt(self) -> int: ...
    @property
    def steps(self) -> Sequence[Facts]: ...


begun: OrderedDict[str, int] = OrderedDict()
begun_lock = Lock()


def moved(moves: Iterable["Moved"]) -> None:
    """Add to each order's trace the stage that its move ended."""
    if not on():
        return
    now = time.time_ns()
    for move in moves:
        touch((move.order_id,))
        began = stage_began(move, now)
        spans.put([move.order_id], [stage(move, began, now)])


def stage_began(move: "Moved", now: int) -> int:
    """Return when an order's current stage began, and note that the next begins now."""
    here, to = doing.get(), move.steps[-1].status
    with begun_lock:
        known = begun.pop(move.order_id, None)
        if to in (Status.BUILDING, Status.SUBMITTED):
            begun[move.order_id] = now
        while len(begun) > BEGUN_MAX:
            begun.popitem(last=False)
    # The stage began in another process, or it begins when the order is picked up: waiting and backoff are not work.
    if known is None or move.status not in (Status.BUILDING, Status.SUBMITTED):
        return here.since if here else now
    return known


def stage(move: "Moved", began: int, now: int) -> Span:
    """Make the span of a stage, with the events its client received."""
    to, said = move.steps[-1].status, [to_builtins(facts) for facts in move.steps]
    merged = {name: value for facts in said for name, value in facts.items()}
    attributes = {"order.id": move.order_id, "order.type": move.type, "order.status": to, "order.attempt": move.attempt}
    attributes |= {f"order.{name}": merged[name] for name in SHOWN if name in merged}
    return Span(
        name=stage_name(move.status, to),
        kind="INTERNAL",
        id=new_id(),
        parent=parent_of(move.order_id, began),
        began=began,
        ended=now,
        attributes=attributes,
        error=trouble(move.steps[-1]),
        # The order may have rested for days: its trigger belongs to the work that fired it, and is linked to the root.
        links=(Link(trace_of(move.order_id), ROOT),) if move.steps[0].status is Status.TRIGGERED else (),
        events=tuple(Told(one.status, now, facts) for one, facts in zip(move.steps, said, strict=True)),
    )


def stage_name(before: Status, to: Status) -> str:
    """Name the stage a move ended."""
    if before is Status.PENDING and to is Status.PENDING:
        return "amend"
    return ACTS.get(to, STAGES[before])


def trouble(last: Facts) -> str | None:
    """Return what went wrong in a stage: empty if it succeeded, None if neither applies."""
    match last:
        case Failed(code=code, message=message) | Retry(retry=Wait(code=code, message=message)):
            return f"{code}: {message}"
        case Returned(returned=wait):
            return f"{wait.code}: {wait.message}"
    return "" if last.status is Status.CONFIRMED else None
