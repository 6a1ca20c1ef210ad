"""A recorded market: SOL against USDT in one-minute prices, 18 to 20 January 2025, the three days that moved most.

The rows are those of a month's recording, `timestamp,open,high,low,close,volume`, kept as they were.  To replay them:
`python3 manage.py up --replay tests/market/SOLUSDT_1m.csv`.
"""

import csv
from decimal import Decimal
from pathlib import Path

RECORDED = Path(__file__).parent / "SOLUSDT_1m.csv"
START_MS = 1_737_158_400_000
"""Its first minute, epoch ms."""
MINUTES = 4_320


def recorded() -> list[tuple[Decimal, Decimal]]:
    """Read (open, close) per minute, independently of the engine's own reader."""
    with RECORDED.open() as file:
        return [(Decimal(row["open"]), Decimal(row["close"])) for row in csv.DictReader(file)]
