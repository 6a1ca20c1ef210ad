"""The sweep: finding orders that nobody was told of, or whose worker has gone.

It is the guarantee behind every lost message.
"""

from orders import dispatch, live, recovery, waiting

SWEEP_LIMIT = 500
QUEUE_LONG = 200
"""Messages in the order queue past which the sweep holds still: its hints are among them."""


def sweep() -> int:
    """Wake workers for orders whose time has come: retries, lapsed leases, lost wake-ups, pauses.  Return how many."""
    if dispatch.waiting("order") > QUEUE_LONG:
        return 0
    hints, missing, paused = live.due(SWEEP_LIMIT)
    if hints:
        dispatch.send(dispatch.EXECUTE, hints)
    if missing:
        recovery.rebuild(missing)
    if paused:
        waiting.resume(paused)
    return len(hints) + len(missing) + len(paused)
