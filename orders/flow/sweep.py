"""The sweep: finding orders that nobody was told of, or whose worker has gone.

It is the guarantee behind every lost message.
"""

from orders.flow import decisions, dispatch, restoring, waiting
from orders.stores import live

SWEEP_LIMIT = 500
QUEUE_LONG = 200
"""Messages in the order queue past which the sweep leaves orders that nobody has begun to them."""


def sweep() -> int:
    """Wake workers for orders whose time has come: retries, lapsed leases, lost wake-ups, pauses.  Return how many."""
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
