"""The price of SOL over a run, second by second: it wanders, jumps, stands still in the calm, and rises once more."""

from itertools import pairwise
from pathlib import Path
from random import Random

BEGIN, LOW, HIGH = 150.0, 141.0, 160.0
STEP = 0.0012
JUMP, JUMP_CHANCE = 0.015, 0.03
RISE = 1.18
"""What the price rises by in the calm: what rests below must fire, each once, as proof that it really rested."""
STILL_S = 15
"""Seconds of calm before that."""
AFTER_S = 3_600


def path(seed: int, warm_s: int, seconds: int) -> list[float]:
    """Return the price at the beginning of every second."""
    rng = Random(f"{seed}:prices")
    prices = [BEGIN] * warm_s
    for _ in range(seconds):
        moved = prices[-1] * (1 + rng.gauss(0, STEP))
        if rng.random() < JUMP_CHANCE:
            moved *= 1 + rng.choice((-JUMP, JUMP))
        prices.append(min(HIGH, max(LOW, moved)))
    return [*prices, *[prices[-1]] * STILL_S, *[prices[-1] * RISE] * AFTER_S]


def write(folder: Path, prices: list[float]) -> Path:
    """Write what the sandbox replays: a row a minute, played sixty times as fast."""
    file = folder / "SOLUSDC_1m.csv"
    rows = ["timestamp,open,high,low,close,volume"]
    for number, (opened, closed) in enumerate(pairwise(prices)):
        high, low = max(opened, closed), min(opened, closed)
        day, minute = divmod(number, 1_440)
        when = f"2026-01-{day + 1:02} {minute // 60:02}:{minute % 60:02}:00"
        rows.append(f"{when},{opened:.4f},{high:.4f},{low:.4f},{closed:.4f},1")
    file.write_text("\n".join(rows) + "\n")
    return file
