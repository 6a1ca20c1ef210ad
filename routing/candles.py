"""Price history: candles of the price less fee, per pair and venue and for BEST.

The stream worker adds each second once it is over; minutes are made of the seconds in Postgres.  One row per candle:
rows of arrays would be fewer, but each would be written again every second, and two workers could not merge theirs.
34 pairs take 1.8 million rows, about 370 MB with their indexes.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from decimal import Decimal
from enum import IntEnum

from routing.models import Candle as Row
from routing.postgres import fetch

BEST = "BEST"
SLICE = 5_000
"""Maximum number of rows deleted by one statement."""
SLICES = 20
"""Maximum number of such statements per call and interval: ten times what a minute of 34 pairs adds."""


class Interval(IntEnum):
    """The length of a candle, in seconds."""

    SECOND = 1
    MINUTE = 60


KEPT_S = {Interval.SECOND: 2 * 3_600, Interval.MINUTE: 7 * 86_400}
"""How long candles are kept: those of 1 s for 2 hours, those of 1 min for 7 days."""


@dataclass(frozen=True, slots=True)
class Candle:
    """The prices of one pair at one venue in the interval that begins at `at`, an epoch second.

    `opened_ms` and `closed_ms` are when the first and the last quote were observed, in ms since `at`: by them the
    parts that two workers recorded are joined.
    """

    pair: str
    venue: str
    at: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    quotes: int
    opened_ms: int
    closed_ms: int


# Rows are locked in the order of their key, so two workers that add the same second never deadlock.
ADD = """
INSERT INTO routing_candle AS c (seconds, pair, venue, at, open, high, low, close, quotes, opened_ms, closed_ms)
SELECT 1, pair, venue, to_timestamp(at), open, high, low, close, quotes, opened_ms, closed_ms
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::int[], %s::int[], %s::int[]) AS given (pair, venue, at, open, high, low, close, quotes, opened_ms, closed_ms)
ORDER BY pair, venue, at
ON CONFLICT (pair, venue, seconds, at) DO UPDATE SET
  open = CASE WHEN excluded.opened_ms < c.opened_ms THEN excluded.open ELSE c.open END,
  high = greatest(c.high, excluded.high), low = least(c.low, excluded.low),
  close = CASE WHEN excluded.closed_ms >= c.closed_ms THEN excluded.close ELSE c.close END,
  quotes = c.quotes + excluded.quotes,
  opened_ms = least(c.opened_ms, excluded.opened_ms), closed_ms = greatest(c.closed_ms, excluded.closed_ms)
"""

# A minute is always made of all its seconds, so making it again, or by two workers at once, changes nothing.
ROLL_UP = """
INSERT INTO routing_candle (pair, venue, seconds, at, open, high, low, close, quotes, opened_ms, closed_ms)
SELECT pair, venue, 60, date_trunc('minute', at, 'UTC') AS minute,
  (array_agg(open ORDER BY at))[1], max(high), min(low), (array_agg(close ORDER BY at DESC))[1], sum(quotes),
  min(1000 * extract(second FROM at) + opened_ms), max(1000 * extract(second FROM at) + closed_ms)
FROM routing_candle WHERE seconds = 1 AND at >= to_timestamp(%s) AND at < to_timestamp(%s)
GROUP BY pair, venue, minute ORDER BY pair, venue, minute
ON CONFLICT (pair, venue, seconds, at) DO UPDATE SET
  open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, quotes = excluded.quotes,
  opened_ms = excluded.opened_ms, closed_ms = excluded.closed_ms
"""

READ = """
SELECT extract(epoch FROM at)::bigint, open, high, low, close, quotes, opened_ms, closed_ms FROM routing_candle
WHERE pair = %s AND venue = %s AND seconds = %s AND at >= to_timestamp(%s) AND at < to_timestamp(%s) ORDER BY at
"""

DELETE = """
WITH gone AS (
  DELETE FROM routing_candle WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM routing_candle WHERE seconds = %s AND at < to_timestamp(%s)
    ORDER BY at LIMIT %s FOR UPDATE SKIP LOCKED)) RETURNING 1)
SELECT count(*) FROM gone
"""


def add(candles: Sequence[Candle]) -> None:
    """Add candles of 1 s in one statement; one that is there already is joined with what is given.

    Raises DatabaseError.  If it was committed nevertheless, adding them again changes only `quotes`.
    """
    fetch(ADD, *map(list, zip(*map(astuple, candles), strict=True)))


def roll_up(since: int, before: int) -> None:
    """Make the candles of 1 min of a time, in epoch seconds, from those of 1 s.

    Raises DatabaseError.
    """
    fetch(ROLL_UP, since, before)


def newest_minute() -> int | None:
    """Return the epoch second of the last minute that was made; None if there is none.

    Raises DatabaseError.
    """
    newest = Row.objects.filter(seconds=Interval.MINUTE).order_by("-at").values_list("at", flat=True).first()
    return int(newest.timestamp()) if newest else None


def kept_since(interval: Interval, now: int) -> int:
    """Return from when on candles are kept at an epoch second: the beginning of a minute, so that none is half gone."""
    return (now - KEPT_S[interval]) // 60 * 60


def prune(now: int) -> int:
    """Delete candles whose time is over, a bounded number at a time; return how many.

    Raises DatabaseError.
    """
    return sum(prune_of(interval, kept_since(interval, now)) for interval in Interval)


def prune_of(interval: Interval, before: int) -> int:
    """Delete candles of an interval that begin before an epoch second."""
    gone = 0
    for _ in range(SLICES):
        ((count,),) = fetch(DELETE, interval.value, before, SLICE)
        gone += count
        if count < SLICE:
            break
    return gone


def read(pair: str, venue: str, interval: Interval, since: int, before: int) -> list[Candle]:
    """Return the candles that begin in a time, in epoch seconds, oldest first.

    Raises DatabaseError.
    """
    return [Candle(pair, venue, *row) for row in fetch(READ, pair, venue, interval.value, since, before)]
