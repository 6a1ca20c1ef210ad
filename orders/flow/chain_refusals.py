"""Tell a venue's breaker how many of its transactions the chain has refused.

Refusals for slippage count as executed: honesty.py judges these.  What the chain did not execute says nothing of the
venue, so a chain that is away opens no breaker.
"""

from dataclasses import dataclass
from datetime import datetime

from engine.lifecycle import AttemptState
from orders.flow.honesty import REFUSED, SETTLED_MAX, SINCE
from orders.stores.rows import fetch_as
from routing.breakers import Breakers

LOOK_EVERY_S = 2.0

SHARES = f"""
    WITH settled AS (
        SELECT order_id, venue, settled_at,
            (state = '{AttemptState.REJECTED.value}' AND error_code <> '{REFUSED}')::int AS refused
        FROM orders_attempt
        WHERE {SINCE}
            AND state IN ('{AttemptState.LANDED.value}', '{AttemptState.REJECTED.value}')
        ORDER BY id DESC LIMIT {SETTLED_MAX}
    ), of_accounts AS (
        SELECT s.venue, max(s.settled_at) AS settled_at, avg(s.refused) AS refused
        FROM settled s JOIN orders_order o ON o.id = s.order_id
        GROUP BY s.venue, o.owner_id
    )
    SELECT venue, max(settled_at) AS settled_at, avg(refused)::float8 AS refused FROM of_accounts GROUP BY venue
"""  # noqa: S608 - constants of our own
"""The share of each venue's transactions that was refused: the mean over accounts, so that one weighs as one."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one look finds of a venue: the share that was refused, from 0 to 1."""

    venue: str
    settled_at: datetime
    refused: float


class Watch:
    """Looks at the transactions that have settled since the last look; what had before the first does not count."""

    def __init__(self, breakers: Breakers | None = None) -> None:
        self.breakers = breakers or Breakers("its transactions were refused by the chain")
        self.until: datetime | None = None

    def look(self) -> int:
        """Judge the venues; return how many are left out.

        Raises DatabaseError, StoreError.
        """
        found = fetch_as(Share, SHARES, self.until)
        for one in found if self.until else ():
            self.breakers.note(one.venue, one.refused)
        self.until = max((one.settled_at for one in found), default=self.until)
        return self.breakers.judge()
