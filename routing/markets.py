"""The last known market data of tokens in Postgres, from which a Redis that lost it is restored.

Owner of the TokenMarket table.  Trades are not stored: the volume of a window is soon useless.
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
"""How long a token's market data is kept after its last event."""
TIDY_EVERY_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A token's market data: pools and their liquidity in US cents, `at` in epoch ms by the store's clock."""

    mint: str
    pools: int
    liquidity: int | None
    at: int


# Rows are always locked in mint order: otherwise two batches with the same tokens could deadlock.  A row from the
# future, made by a clock that has since stepped back, is replaced like an old one.
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
    """Save the market data of these tokens in one statement, unless newer data is stored; `now` is in epoch ms.

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
    """Return the stored market data of these tokens.

    Raises DatabaseError.
    """
    rows = TokenMarket.objects.filter(mint__in=mints)
    return [Shown(row.mint, row.pools, row.liquidity, epoch_ms(row.observed_at)) for row in rows]


def epoch_ms(at: datetime) -> int:
    """Convert a time to epoch milliseconds, without float rounding."""
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


@dataclass
class Tidying:
    """Deletes rows older than KEEP_S, the TTL in Redis; runs as part of `save`, once per TIDY_EVERY_S and process."""

    due_at: float = 0.0

    def __call__(self, now: int) -> None:
        """Delete old rows if TIDY_EVERY_S has passed; `now` is in epoch milliseconds."""
        if time.monotonic() >= self.due_at:
            self.due_at = time.monotonic() + TIDY_EVERY_S
            oldest = datetime.fromtimestamp(now / 1000 - KEEP_S, UTC)
            TokenMarket.objects.filter(observed_at__lt=oldest).delete()


tidying = Tidying()
