"""Record prices: every quote that this process stores becomes part of its second's candle."""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from routing import candles
from routing.candles import BEST, Candle, Interval
from routing.quotes import Stored
from routing.store import now_ms

UNSAVED_MAX = 600
"""Seconds kept in memory while Postgres is unavailable; beyond, the oldest are lost."""
LATE_MS = 5_000
"""How long after its end a minute is made: another worker may still add its last second."""

Key = tuple[str, str, int]
"""Pair, venue, epoch second."""


@dataclass(slots=True)
class Tally:
    """The candle of a second so far."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    opened_ms: int
    closed_ms: int
    quotes: int = 1

    def add(self, price: Decimal, ms: int) -> None:
        """Count a price observed `ms` after the second began."""
        self.quotes += 1
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        if ms >= self.closed_ms:
            self.close, self.closed_ms = price, ms
        elif ms < self.opened_ms:
            self.open, self.opened_ms = price, ms

    def candle(self, pair: str, venue: str, second: int) -> Candle:
        """Return it as a candle."""
        prices = (self.open, self.high, self.low, self.close)
        return Candle(pair, venue, second, *prices, self.quotes, self.opened_ms, self.closed_ms)


class Recorder:
    """Makes candles of the quotes it is told of, and saves each second once it is over."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tallies: dict[Key, Tally] = {}
        self.unsaved: deque[list[Candle]] = deque(maxlen=UNSAVED_MAX)
        self.rolled: int | None = None
        """Up to which minute, counted from the epoch, this process has made candles; None before it has looked."""

    def note(self, stored: Stored) -> None:
        """Count a stored quote, and BEST as it is now."""
        quote = stored.quote
        self.count(quote.pair, quote.venue, quote.net_price, quote.observed_at)
        if stored.best is not None:
            self.count(quote.pair, BEST, stored.best, now_ms())

    def count(self, pair: str, venue: str, price: Decimal, at: int) -> None:
        """Count a price at a moment in epoch milliseconds."""
        second, ms = divmod(at, 1000)
        with self.lock:
            tally = self.tallies.get((pair, venue, second))
            if tally:
                tally.add(price, ms)
            else:
                self.tallies[pair, venue, second] = Tally(price, price, price, price, ms, ms)

    def save(self) -> int:
        """Save the seconds that are over, and once a minute make the last minute and delete what is too old.

        Raises DatabaseError; the next call saves what this one could not.
        """
        now = now_ms()
        self.save_before(now // 1000)
        minute = (now - LATE_MS) // 60_000
        if self.rolled != minute:
            self.finish_minutes(minute, now // 1000)
        return 0

    def save_all(self) -> None:
        """Save the running second as well: this process is about to end.

        Raises DatabaseError.
        """
        self.save_before(None)

    def save_before(self, second: int | None) -> None:
        """Save what was recorded before a second, each second in one statement."""
        if over := list(self.taken(second)):
            self.unsaved.append(over)
        while self.unsaved:
            candles.add(self.unsaved[0])
            self.unsaved.popleft()

    def taken(self, before: int | None) -> Iterable[Candle]:
        """Take the candles of the seconds before this one, or all."""
        with self.lock:
            over = [key for key in self.tallies if before is None or key[2] < before]
            found = [(key, self.tallies.pop(key)) for key in over]
        return (tally.candle(*key) for key, tally in found)

    def finish_minutes(self, minute: int, now: int) -> None:
        """Make the minutes before this one that may be missing, and delete what is too old."""
        if self.rolled is None:
            # Whoever recorded before this process may have ended within a minute.
            newest = candles.newest_minute()
            self.rolled = newest // 60 if newest is not None else 0
        since = max(self.rolled * 60, candles.kept_since(Interval.SECOND, now) + 60)
        candles.roll_up(since, minute * 60)
        candles.prune(now)
        self.rolled = minute
