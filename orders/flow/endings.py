"""What becomes of an order whose try failed: another try, a return to the book, or the end."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from engine import events, retry
from engine.failures import ChainUnavailable, Defect, Failure, NoVenueQuotes
from engine.lifecycle import Status
from engine.orders import Order, OrderType, TimeInForce
from orders.flow import progress
from orders.flow.progress import Move
from orders.stores.claims import Claim
from routing.guards import guards
from routing.store import now_ms

log = structlog.get_logger(__name__)


RETURN_MS = 500
RETURN_MAX_MS = 30_000
"""How long an order that fired in vain stays away from the book: twice as long each time, up to half a minute."""

AWAY = frozenset({NoVenueQuotes.CODE, ChainUnavailable.CODE})
"""What says that something was away: nothing was tried, so no try is used up."""
NOT_NOW = AWAY | {"slippage_exceeded", "price_impact"}
"""What sends a waiting order back: the market has not now what it had when the order fired."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An order one of whose tries has failed, as its mover knows it; `tries` counts since it last rested.

    It is in the claim `fence`, or submitted as `tx`.  `away` counts how often in a row it could not be tried.
    """

    order_id: str
    type: OrderType
    status: Status
    seq: int | None
    attempt: int
    tries: int
    fence: str | None = None
    tx: str | None = None
    away: int = 0
    deadline: int | None = None


def fail(failures: Iterable[tuple[Claim, Failure]]) -> None:
    """Let each order be tried again after its backoff, or end it; one that waits for a price goes on waiting."""
    progress.advance([after(claim, failure) for claim, failure in failures])


def after(claim: Claim, failure: Failure) -> Move:
    """Decide what one failed try means."""
    if claim.order.waits and failure.code in NOT_NOW:
        return back(tried(claim), claim.order, claim.returns, failure)
    return ending(tried(claim), failure)


def tried(claim: Claim) -> Tried:
    """Say which order it is whose try failed."""
    order = claim.order
    return Tried(
        order.id, order.type, claim.status, claim.seq, claim.attempt, claim.tries, claim.fence,
        away=claim.away, deadline=order.deadline,
    )  # fmt: skip


def defect(order_id: str, reason: Exception) -> Failure:
    """Describe what nobody expected of one order, so that it fails alone; the log has the details."""
    log.error("order failed by a defect", order_id=order_id, exc_info=reason)
    return Defect(f"the engine failed on this order: {reason!r}"[:500])


def ending(tried: Tried, failure: Failure) -> Move:
    """Decide between another try after its backoff and `failed`; return the move for either."""
    away = failure.code in AWAY and failure.retryable
    wait = patience(tried) if away else retry.decide(failure, tried.tries, guards.MAX_ATTEMPTS, random.random)
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
    return move(tried, (Status.ROUTING, events.retrying(failure, wait)), look_in_ms=wait, unused=away)


def patience(tried: Tried) -> int | None:
    """Return how long an order waits for what is away, in milliseconds; None once its deadline has passed."""
    left = (tried.deadline or now_ms() + retry.AWAY_CAP_MS) - now_ms()
    return min(retry.away_ms(tried.away, random.random), left) if left > 0 else None


def back(tried: Tried, order: Order, returns: int, failure: Failure, body: str | None = None) -> Move:
    """Send an order that fired in vain back to the book after a pause; one that must not wait is cancelled instead."""
    if order.time_in_force is TimeInForce.IOC:
        return move(tried, (Status.CANCELLED, events.cancelled(f"ioc: {failure.message}")))
    wait = min(RETURN_MAX_MS, RETURN_MS * 2 ** min(returns, 10))
    log.info("order rests again", order_id=order.id, code=failure.code, reason=failure.message, pause_ms=wait)
    step = (Status.PENDING, events.returned(failure.code, failure.message, wait))
    return move(tried, step, look_in_ms=wait, body=body)


def move(tried: Tried, step: tuple[Status, events.Facts], **more: Any) -> Move:
    """Move the order one step."""
    return Move(
        tried.order_id, tried.type, tried.status, tried.seq, tried.attempt, (step,), tried.fence, tried.tx, **more
    )
