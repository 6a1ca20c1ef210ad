"""What becomes of an order whose try failed: another try, a return to the book, or the end."""

import random
from dataclasses import dataclass
from typing import Any

import structlog

from engine import events, retry
from engine.lifecycle import Status
from engine.orders import Order, OrderType, TimeInForce
from engine.retry import Failure
from orders.progress import ANY_FENCE, Move
from routing.guards import guards

log = structlog.get_logger(__name__)


RETURN_MS = 500
RETURN_MAX_MS = 30_000
"""How long an order that fired in vain stays away from the book: twice as long each time, up to half a minute."""

NO_FILL = frozenset({"no_quote", "slippage_exceeded"})
"""What sends a waiting order back: the market has not now what it had when the order fired."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An order one of whose tries has failed, as its mover knows it; `tries` counts since it last rested."""

    order_id: str
    type: OrderType
    status: Status
    seq: int
    attempt: int
    tries: int
    fence: str = ANY_FENCE


def ending(tried: Tried, failure: Failure) -> Move:
    """Decide between another try after its backoff and `failed`; return the move for either."""
    wait = retry.decide(failure, tried.tries, guards.MAX_ATTEMPTS, random.random)
    log.warning(
        "try failed",
        order_id=tried.order_id,
        attempt=tried.attempt,
        code=failure.code,
        reason=failure.message,
        retry_ms=wait,
    )
    if wait is None:
        return move(tried, (Status.FAILED, events.failed(failure)))
    return move(tried, (Status.ROUTING, events.retrying(failure, wait)), look_in_ms=wait)


def back(tried: Tried, order: Order, returns: int, failure: Failure, body: str = "") -> Move:
    """Send an order that fired in vain back to the book after a pause; one that must not wait is cancelled instead."""
    if order.time_in_force is TimeInForce.IOC:
        return move(tried, (Status.CANCELLED, events.cancelled(f"ioc: {failure.message}")))
    wait = min(RETURN_MAX_MS, RETURN_MS * 2 ** min(returns, 10))
    log.info("order rests again", order_id=order.id, code=failure.code, reason=failure.message, pause_ms=wait)
    step = (Status.PENDING, events.returned(failure.code, failure.message, wait))
    return move(tried, step, look_in_ms=wait, body=body)


def move(tried: Tried, step: tuple[Status, events.Facts], **more: Any) -> Move:
    """Move the order one step."""
    return Move(tried.order_id, tried.type, tried.status, tried.seq, tried.attempt, (step,), tried.fence, **more)
