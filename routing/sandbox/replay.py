"""Replay recorded one-minute prices at any speed."""

import csv
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

HEADER = ["timestamp", "open", "high", "low", "close", "volume"]

PLACES = 12
PICO = 10**PLACES
PRICE_MAX = 9_000_000
PICO_MAX = PRICE_MAX * PICO
"""Prices are stored in 1e-12 USD; nine million dollars still fit in a 64-bit array element."""

MINUTE_MS = 60_000
ROWS_MAX = 5_000_000
"""Nine and a half years of minutes; a longer file is not a price file."""

QUOTED_IN = re.compile(r"([A-Z0-9]+?)(?:USDT|USDC|USD)")


class BadReplay(Exception):
    """The file does not contain one-minute prices; the message names the file, the line and the value."""


@dataclass(frozen=True, slots=True)
class Replay:
    """One symbol's price in USD, minute by minute, in a loop.

    The first minute begins at `start_ms` (epoch); from then on, `speed` replayed seconds pass per second.
    """

    symbol: str
    opens: "array[int]" = field(repr=False)
    closes: "array[int]" = field(repr=False)
    speed: Fraction
    start_ms: int

    @classmethod
    def load(cls, path: Path, speed: float = 1, start_s: float = 0) -> "Replay":
        """Read `timestamp,open,high,low,close,volume`, one row per minute; the file's name gives the token.

        Only the order of the rows matters: a minute missing from the file is skipped in the replay.
        `start_s` is the epoch second of the first row.  Raises BadReplay, and OSError if the file cannot be read.
        """
        symbol, opens, closes = _symbol(path), array("q"), array("q")
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            for opened, closed in _minutes(file, path.name):
                opens.append(opened)
                closes.append(closed)
        if not opens:
            raise BadReplay(f"{path.name} has no rows")
        # Converted via its string, so that 0.1 is exactly one tenth in every process.
        return cls(symbol, opens, closes, Fraction(str(speed)), round(start_s * 1000))

    def pico_usd(self, at_ms: int) -> int:
        """Return the price at this time in 1e-12 USD, interpolated from the minute's open to its close."""
        played_ms = (at_ms - self.start_ms) * self.speed.numerator // self.speed.denominator
        minute, into_ms = divmod(played_ms % (len(self.opens) * MINUTE_MS), MINUTE_MS)
        opened = self.opens[minute]
        return opened + (self.closes[minute] - opened) * into_ms // MINUTE_MS


def _symbol(path: Path) -> str:
    """Return the token of a price file, by the start of its name: SOLUSDT_1m.csv or JUPUSDC.csv; otherwise SOL."""
    found = QUOTED_IN.fullmatch(path.stem.split("_")[0])
    return found[1] if found else "SOL"


def _minutes(lines: Iterable[str], name: str) -> Iterator[tuple[int, int]]:
    """Yield each minute's open and close in 1e-12 USD."""
    rows = csv.reader(lines)
    try:
        if (header := next(rows, [])) != HEADER:
            raise ValueError(f"{','.join(header)!r} is not the header {','.join(HEADER)!r}")
        before = ""
        for row in rows:
            if rows.line_num > ROWS_MAX:
                raise ValueError(f"more than {ROWS_MAX} rows")
            yield _minute(row, before)
            before = row[0]
    except (ValueError, csv.Error) as reason:
        raise BadReplay(f"{name} line {max(1, rows.line_num)}: {reason}") from None


def _minute(row: list[str], before: str) -> tuple[int, int]:
    if len(row) != len(HEADER):
        raise ValueError(f"{len(row)} values where {len(HEADER)} belong: {','.join(row)!r}")
    # With one timestamp format throughout, string order is time order.
    if row[0] <= before:
        raise ValueError(f"timestamp {row[0]!r} does not come after {before!r}")
    opened, high, low, closed = map(_pico, row[1:5])
    if not low <= opened <= high or not low <= closed <= high:
        raise ValueError(f"open and close must lie from low to high: {','.join(row)!r}")
    return opened, closed


def _pico(text: str) -> int:
    """Parse a plain decimal exactly, directly to an integer: Decimal takes twice as long for 160,000 of them."""
    dollars, _, rest = text.partition(".")
    digits = dollars + rest.ljust(PLACES, "0")
    if len(rest) > PLACES or not dollars or not digits.isdigit() or not digits.isascii():
        raise ValueError(f"{text!r} is not a price with at most {PLACES} decimals")
    units = int(digits)
    if not 0 < units <= PICO_MAX:
        raise ValueError(f"{text!r} is not a price above 0 and at most {PRICE_MAX}")
    return units
