"""The sweep: find orders whose wake-up was lost or whose worker has died.

It covers the orders in `orders:open`: active ones, and waiting ones that must be checked or are outside the book.
Orders that only rest are not in it. Beat's tasks do what a lost message to the limit, sniper, dbsync or dlq worker
asked for.
"""

from orders.flow import decisions, dispatch, restoring, waiting
from orders.stores import live

SWEEP_LIMIT = 500
QUEUE_LONG = 200
"""Queue length above which the sweep leaves orders no worker has started to the messages already queued."""


def sweep() -> int:
    """Wake workers for due orders: retries, lapsed leases, lost wake-ups, ended pauses. Return how many there were."""
    due = live.due(SWEEP_LIMIT, queue_is_long=dispatch.waiting("order") > QUEUE_LONG)
    if due.hints:
        dispatch.send(dispatch.EXECUTE, due.hints)
    if due.missing:
        restoring.restore(due.missing, "missing from Redis")
    if due.waiting:
        waiting.resume(due.waiting)
    if due.intended:
        decisions.complete(due.intended)
    return len(due.hints) + len(due.missing) + len(due.waiting) + len(due.intended)
