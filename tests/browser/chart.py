"""What the desk's chart shows, read from its pixels; and prices recorded before anybody looked."""

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.system import System

COLUMNS = """
(name) => {
  const wanted = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(wanted.slice(at, at + 2), 16));
  const panes = [...document.querySelectorAll("#chart canvas")].sort((a, b) => b.width * b.height - a.width * a.height);
  const { width, height } = panes[0];
  const found = Array.from({ length: width }, () => []);
  for (const canvas of panes.filter((one) => one.width === width && one.height === height)) {
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    for (let x = 0; x < width; x += 1) for (let y = 0; y < height; y += 1) {
      const i = 4 * (y * width + x);
      if (data[i] === r && data[i + 1] === g && data[i + 2] === b) found[x].push(y);
    }
  }
  return found;
}
"""


@dataclass(frozen=True)
class Drawn:
    """A line of the chart: from left to right, the pixels of each column that have its colour, from above."""

    columns: list[list[int]]

    def between(self, left: float, right: float) -> list[list[int]]:
        """Return the columns of a part of the width, given as fractions of it."""
        width = len(self.columns)
        return self.columns[round(left * width) : round(right * width)]

    def covered(self, left: float, right: float) -> float:
        """Return the share of columns with something drawn in a part of the width."""
        part = self.between(left, right)
        return sum(map(bool, part)) / len(part)

    def gap(self) -> float:
        """Return the widest gap between two pieces of the line, as a fraction of the width."""
        inked = [x for x, ys in enumerate(self.columns) if ys]
        return max((b - a for a, b in pairwise(inked)), default=0) / len(self.columns)

    def tallest(self, left: float, right: float) -> int:
        """Return the height of the steepest piece in a part of the width, in pixels."""
        return max((max(ys) - min(ys) for ys in self.between(left, right) if ys), default=0)

    def level(self, left: float, right: float) -> int:
        """Return how far below the top the line begins in a part of the width."""
        return next(min(ys) for ys in self.between(left, right) if ys)


def drawn(page: Any, colour: str = "--best") -> Drawn:
    """Read the line that has one of the page's colours."""
    return Drawn(page.evaluate(COLUMNS, colour))


def record(engine: System, pair: str, price: str, ago_s: tuple[int, int], seconds: int = 1, venue: str = "BEST") -> int:
    """Record one price from so long ago until so long ago, as the stream worker does; return the present second."""
    now = int(time.time())
    begin, end = ((now - ago) // seconds * seconds for ago in ago_s)
    with engine.postgres() as db:
        db.execute(
            "INSERT INTO routing_candle"
            " (pair, venue, seconds, at, open, high, low, close, quotes, opened_ms, closed_ms)"
            " SELECT %s, %s, %s, to_timestamp(s), p, p, p, p, 2, 0, 900 FROM generate_series(%s, %s, %s) s,"
            " (SELECT %s::numeric AS p) t ON CONFLICT DO NOTHING",
            [pair, venue, seconds, begin, end - seconds, seconds, price],
        )
    return now
