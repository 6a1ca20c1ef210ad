"""A market whose price comes and goes: minutes for the sandbox to replay."""

from collections.abc import Sequence
from pathlib import Path

STILL = {"MOCK_QUOTE_DELAY_MS": "0", "MOCK_PRICE_VARIATION_PCT": "0", "MOCK_LAUNCH_EVERY_S": "0"}
"""Venues that answer at once and agree, and nothing but what the test does."""


def tide(folder: Path, prices: Sequence[str], speed: int = 60) -> dict[str, str]:
    """Return settings for a market that holds each of these prices for a minute of its own time, over and over."""
    path = folder / "SOLUSDC_1m.csv"
    rows = [
        f"2026-01-01 {i // 60:02}:{i % 60:02}:00,{price},{price},{price},{price},1" for i, price in enumerate(prices)
    ]
    path.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    return {**STILL, "MARKET_REPLAY": str(path), "MARKET_REPLAY_SPEED": str(speed)}
