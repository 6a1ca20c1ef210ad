"""Spans of an order's own stages, each from the previous event to the event that ended it."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from opentelemetry.trace import StatusCode

from engine.event_kinds import Confirmed, Failed, Retry, Returned
from engine.lifecycle import Status
from orders.telemetry.traces.spans import below_root, doing, is_chosen, on, sdk, touch

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

begun: OrderedDict[str, int] = OrderedDict()


def moved(moves: Iterable[Any]) -> None:
    """Add to each order's trace the stage that its move ended; the moves are those of `orders.flow.progress`."""
    now = time.time_ns()
    for move in moves if on() else ():
        touch((move.order_id,))
        if is_chosen(move.order_id):
            show(move, stage_began(move, now), now)


def stage_began(move: Any, now: int) -> int:
    """Return when an order's current stage began, and note that the next begins now."""
    known, here = begun.pop(move.order_id, None), doing.get()
    if move.to in (Status.BUILDING, Status.SUBMITTED):
        begun[move.order_id] = now
        if len(begun) > BEGUN_MAX:
            begun.popitem(last=False)
    if known and move.status in (Status.BUILDING, Status.SUBMITTED):
        return known
    # The stage began in another process, or it begins when the order is picked up: waiting and backoff are not work.
    while here and here.outer:
        here = here.outer
    return here.began if here else now


def show(move: Any, began: int, now: int) -> None:
    """Make the span of a stage, with the events its client received."""
    told = [(one.status, msgspec.to_builtins(one)) for one in move.steps]
    said = {name: value for _, facts in told for name, value in facts.items()}
    attributes = {"order.id": move.order_id, "order.type": move.type, "order.status": move.to}
    attributes |= {"order.attempt": move.attempt, **{f"order.{name}": said[name] for name in SHOWN if name in said}}
    name = "amend" if move.status is move.to is Status.PENDING else ACTS.get(move.to, STAGES[move.status])
    span = sdk().tracer.start_span(name, below_root(move.order_id), attributes=plain(attributes), start_time=began)
    for status, facts in told:
        span.add_event(status, plain(facts), now)
    match move.steps[-1]:
        case Retry(retry=trouble) | Returned(returned=trouble) | (Failed() as trouble):
            span.set_status(StatusCode.ERROR, f"{trouble.code}: {trouble.message}")
        case Confirmed():
            span.set_status(StatusCode.OK)
    span.end(now)


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Convert facts to attributes: compound values become JSON, unknown (None) values are left out."""
    known = {name: value for name, value in facts.items() if value is not None}
    simple = (str, bool, int, float)
    return {name: one if isinstance(one, simple) else msgspec.json.encode(one).decode() for name, one in known.items()}
