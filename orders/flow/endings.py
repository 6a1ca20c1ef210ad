"""Decide what follows a failed try: retry, return to the book, or fail the order."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from engine import events, retry
from engine.event_kinds import Cancelled, Facts, Returned, Wait
from engine.failures import AWAY, BeyondImpact, Defect, Failure
from engine.lifecycle import Status
from engine.orders import Order, OrderType, TimeInForce
from orders.flow import progress
from orders.flow.pauses import Stop
from orders.flow.progress import Move
from orders.flow.trading_limits import Rejected
from orders.models import Scope
from orders.stores.claims import Claim
from routing.risk_limits import risk_limits
from routing.store import now_ms

log = structlog.get_logger(__name__)


RETURN_MS = 500
RETURN_MAX_MS = 30_000
"""How long an order stays out of the book after firing in vain: doubled each time, at most half a minute."""

NOT_NOW = AWAY | {"slippage_exceeded", "price_impact"}
"""Failure codes that send a resting order back to the book: the market no longer offers what it fired on."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An order whose try has failed, as the caller knows it; `tries` counts since it last rested.

    It is either claimed under `fence` or submitted as `tx`. `away` counts how often in a row it could not be tried.
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
    """Retry each order after its backoff, or end it. An order that waits for a price may return to the book."""
    progress.advance([after(claim, failure) for claim, failure in failures])


def after(claim: Claim, failure: Failure) -> Move:
    """Return the move that follows one failed try."""
    if claim.order.waits and failure.code in NOT_NOW:
        return back(tried(claim), claim.order, claim.returns, failure)
    return ending(tried(claim), failure)


def tried(claim: Claim) -> Tried:
    order = claim.order
    return Tried(
        order.id, order.type, claim.status, claim.seq, claim.attempt, claim.tries, claim.fence,
        away=claim.away, deadline=order.deadline,
    )  # fmt: skip


def defect(order_id: str, reason: Exception) -> Failure:
    """Return the failure for an unexpected error in one order, so that it fails alone; the log has the traceback."""
    log.error("order failed because of a defect", order_id=order_id, exc_info=reason)
    return Defect(f"the engine failed on this order: {reason!r}"[:500])


def ending(tried: Tried, failure: Failure) -> Move:
    """Return the move of a failed try: a retry after its backoff, or `failed`."""
    away = failure.code in AWAY and failure.retryable
    wait = patience(tried) if away else retry.decide(failure, tried.tries, risk_limits.MAX_ATTEMPTS, random.random)
    log.warning(
        "try failed",
        order_id=tried.order_id,
        attempt=tried.attempt,
        code=failure.code,
        reason=failure.message,
        retry_ms=wait,
    )
    if wait is None:
        return move(tried, events.failed(failure))
    return move(tried, events.retry(failure, wait), look_in_ms=wait, unused=away)


def patience(tried: Tried) -> int | None:
    """Return how long an order waits out an outage, in milliseconds; None once its deadline has passed."""
    left = (tried.deadline or now_ms() + retry.AWAY_CAP_MS) - now_ms()
    return min(retry.away_ms(tried.away, random.random), left) if left > 0 else None


def stopped(claim: Claim, stop: Stop) -> Move:
    """Return the move of an order that a halt stopped before it was sent.

    A market order is cancelled: its client wants the price of now. An order that waits rests again. If only the venue
    is halted, a market order is tried at another one.
    """
    if claim.order.waits or stop.scope is Scope.VENUE:
        return after(claim, stop.failure)
    return cancelled(tried(claim), stop)


def cancelled(tried: Tried, stop: Stop) -> Move:
    """Return the move of a market order that is cancelled by a halt."""
    log.warning("order cancelled by a halt", order_id=tried.order_id, reason=str(stop))
    return move(tried, Cancelled(f"cancelled by the operator before it was sent: {stop}", stop.failure.code))


def rejected(claim: Claim, reason: Rejected) -> Move:
    """Return the move of an accepted order that is beyond a trading limit before it is sent."""
    return move(tried(claim), Cancelled(f"rejected before it was sent: {reason}", reason.code))


def beyond_impact(claim: Claim, reason: Rejected) -> Move:
    """Return the move of an order whose price impact is beyond a trading limit; one that waits rests again."""
    if claim.order.waits:
        return back(tried(claim), claim.order, claim.returns, BeyondImpact(str(reason)))
    return rejected(claim, reason)


def back(tried: Tried, order: Order, returns: int, failure: Failure, body: str | None = None) -> Move:
    """Return the move of an order that fired in vain: back to the book after a pause, or cancelled if IOC."""
    if order.time_in_force is TimeInForce.IOC:
        return move(tried, Cancelled(f"ioc: {failure.message}", failure.code))
    wait = min(RETURN_MAX_MS, RETURN_MS * 2 ** min(returns, 10))
    log.info("order rests again", order_id=order.id, code=failure.code, reason=failure.message, pause_ms=wait)
    step = Returned(Wait(failure.code, failure.message, wait))
    return move(tried, step, look_in_ms=wait, body=body)


def move(tried: Tried, step: Facts, **more: Any) -> Move:
    """Make a move of one step."""
    return Move(
        tried.order_id, tried.type, tried.status, tried.seq, tried.attempt, (step,), tried.fence, tried.tx, **more
    )
