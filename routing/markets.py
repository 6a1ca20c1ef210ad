"""What tokens' markets last showed, in Postgres: what a lost Redis is told again.  Owner of the table of TokenMarket.

Trades are not among it: what was traded in a window is of no use soon after.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from django.db import connection

from engine.events import moment
from engine.quotes import AHEAD_MAX_MS
from routing.models import TokenMarket

KEEP_S = 7 * 86_400
"""How long what is known of a token outlives its last event."""
TIDY_EVERY_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Shown:
    """What a token's market showed: its pools and their worth in US cents, `at` in epoch ms by the store's clock."""

    mint: str
    pools: int
    liquidity: int | None
    at: int


# In one order everywhere: two batches of the same tokens would otherwise wait for each other.  A row from the future,
# by a clock that has stepped back since, gives way like an old one.
SAVE = """
    INSERT INTO routing_tokenmarket AS kept (mint, pools, liquidity, observed_at)
    SELECT mint, pools, liquidity, observed_at
    FROM json_to_recordset(%s) AS s(mint text, pools int, liquidity bigint, observed_at timestamptz)
    ORDER BY mint
    ON CONFLICT (mint) DO UPDATE
    SET pools = excluded.pools, liquidity = excluded.liquidity, observed_at = excluded.observed_at
    WHERE (kept.observed_at, kept.pools) <= (excluded.observed_at, excluded.pools) OR kept.observed_at > %s
"""


def save(shown: Sequence[Shown], now: int) -> None:
    """Keep what these tokens showed, in one statement, unless something newer is kept; `now` in epoch ms.

    Raises DatabaseError.
    """
    rows = [
        {"mint": one.mint, "pools": one.pools, "liquidity": one.liquidity, "observed_at": moment(one.at)}
        for one in shown
    ]
    with connection.cursor() as cursor:
        cursor.execute(SAVE, [msgspec.json.encode(rows).decode(), moment(now + AHEAD_MAX_MS)])
    tidying(now)


def load(mints: Collection[str]) -> list[Shown]:
    """Return what is kept of these tokens.

    Raises DatabaseError.
    """
    rows = TokenMarket.objects.filter(mint__in=mints)
    return [Shown(row.mint, row.pools, row.liquidity, epoch_ms(row.observed_at)) for row in rows]


def epoch_ms(at: datetime) -> int:
    """Return a moment in epoch milliseconds, exactly."""
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


@dataclass
class Tidying:
    """Drops what nobody has seen for KEEP_S, as Redis does: once in TIDY_EVERY_S, by whoever saves."""

    due_at: float = 0.0

    def __call__(self, now: int) -> None:
        """Drop it, if it is time; `now` in epoch milliseconds."""
        if time.monotonic() >= self.due_at:
            self.due_at = time.monotonic() + TIDY_EVERY_S
            oldest = datetime.fromtimestamp(now / 1000 - KEEP_S, UTC)
            TokenMarket.objects.filter(observed_at__lt=oldest).delete()


tidying = Tidying()
