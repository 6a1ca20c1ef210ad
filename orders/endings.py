"""What becomes of an order whose try failed: another try, or the end."""

import random

import structlog
from django.conf import settings

from engine import events, retry
from engine.lifecycle import Status
from engine.retry import Failure
from orders.progress import ANY_FENCE, Move

log = structlog.get_logger(__name__)


def ending(order_id: str, status: Status, seq: int, attempt: int, failure: Failure, fence: str = ANY_FENCE) -> Move:
    """Decide between another try after its backoff and `failed`; return the move for either."""
    wait = retry.decide(failure, attempt, settings.MAX_ATTEMPTS, random.random)
    log.warning(
        "try failed", order_id=order_id, attempt=attempt, code=failure.code, reason=failure.message, retry_ms=wait
    )
    if wait is None:
        return Move(order_id, status, seq, attempt, ((Status.FAILED, events.failed(failure)),), fence)
    step = (Status.ROUTING, events.retrying(failure, wait))
    return Move(order_id, status, seq, attempt, (step,), fence, look_in_ms=wait)
