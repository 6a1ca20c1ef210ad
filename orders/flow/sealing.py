"""The duty that seals orders which have ended, in DBSync's worker and beside its writing: no order waits for it.

DBSync notes what it has finished.  Whatever a worker forgot when it died is found by a walk over all orders, the newest
first, a page at a time.

While DBSync is behind, sealing waits, as long as PATIENCE_S allows: orders that move come first.
"""

import time
from collections import deque
from collections.abc import Callable
from uuid import UUID

import structlog

from orders.stores import seals
from orders.stores.rows import fetch

log = structlog.get_logger(__name__)

BATCH = 500
"""Orders sealed in one transaction."""
NOTED_MAX = 100_000
PAGE = 2_000
WALK_EVERY_S = 5.0
BUSY_MS = 250
"""Age of the feed's oldest unwritten entry above which DBSync counts as behind."""
PATIENCE_S = 30.0
LAST = UUID(int=2**128 - 1)

noted: deque[str] = deque(maxlen=NOTED_MAX)
"""Orders whose last event DBSync has written.  If there are more, the oldest are left to the walk."""


def seal() -> int:
    """Seal what is noted; return the number of orders sealed."""
    sealed = 0
    while noted:
        batch = [noted.popleft() for _ in range(min(BATCH, len(noted)))]
        sealed += seals.seal(map(UUID, batch))
    if sealed:
        # Where logs are kept elsewhere, this line proves later that the chain has not been made anew.
        log.info("orders sealed", orders=sealed, head=str(seals.head()))
    return sealed


class Walk:
    """Walks over all orders that ended since history is sealed, the newest first, and then again."""

    def __init__(self, behind_ms: Callable[[], int] = lambda: 0) -> None:
        self.behind_ms = behind_ms
        self.before, self.due_at = LAST, 0.0

    def page(self) -> int:
        """Note the orders of the next page that have ended without a seal; return how many."""
        start = fetch("SELECT at FROM orders_seal ORDER BY id LIMIT 1")
        if not start:
            seals.begin()
            return 0
        rows = fetch(
            """
            SELECT o.id, o.status = ANY(%s) AND o.updated_at >= %s
                   AND NOT EXISTS (SELECT FROM orders_seal s WHERE s.order_id = o.id AND s.kind = 'order')
            FROM orders_order o WHERE o.id < %s ORDER BY o.id DESC LIMIT %s
            """,
            seals.FINALS,
            start[0][0],
            self.before,
            PAGE,
        )
        self.before = rows[-1][0] if len(rows) == PAGE else LAST
        missed = [str(order_id) for order_id, is_missed in rows if is_missed]
        noted.extend(missed)
        return len(missed)

    def step(self) -> int:
        """Seal what is noted, and now and then look for what is not; return the number of orders sealed."""
        if time.monotonic() < self.due_at + PATIENCE_S and self.behind_ms() > BUSY_MS:
            return 0
        if time.monotonic() >= self.due_at:
            self.due_at = time.monotonic() + WALK_EVERY_S
            self.page()
        return seal()
