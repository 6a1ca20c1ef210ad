"""What a run came to, and what of it fails the run."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run came to; times in milliseconds, `seconds` from when the first order was due."""

    asked: int
    asked_per_minute: float
    accepted: int
    seconds: float
    ends: dict[str, int]
    wrong: int
    lost: int
    most_at_once: int
    post_p95_ms: float
    final_p95_ms: float
    messages: int
    lag_p95_ms: float = 0.0
    what_was_wrong: Sequence[str] = field(default_factory=list)

    @property
    def per_minute(self) -> float:
        """Return the orders accepted per minute."""
        return self.accepted * 60 / self.seconds

    @property
    def error_share(self) -> float:
        """Return the share of orders with which something was wrong."""
        return self.wrong / self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What a run must keep to: the most, but of throughput and messages the least."""

    post_p95_ms: float = 500
    final_p95_ms: float = 5_000
    error_share: float = 0
    lost: int = 0
    throughput_share: float = 0.95
    messages: int = 0
    lag_p95_ms: float = 1_000


def broken(of: Figures, must: Thresholds) -> list[str]:
    """Say of each threshold that was not kept by how much; nothing when the run passed."""
    least = of.asked_per_minute * must.throughput_share
    verdicts = [
        over("POST to 202, p95", of.post_p95_ms, must.post_p95_ms, " ms"),
        over("accepted or fired to final, p95", of.final_p95_ms, must.final_p95_ms, " ms"),
        over("orders with which something was wrong", of.error_share * 100, must.error_share * 100, " %"),
        over("orders accepted and never seen final", of.lost, must.lost, ""),
        under("orders accepted", of.per_minute, least, " per minute"),
        under("status messages received", of.messages, must.messages, ""),
        over("a message on one socket to the same on another, p95", of.lag_p95_ms, must.lag_p95_ms, " ms"),
    ]
    return [verdict for verdict in verdicts if verdict]


def over(what: str, found: float, most: float, unit: str) -> str | None:
    """Say by how much a figure is above the most it may be."""
    if found <= most:
        return None
    return f"{what}: {found:,.6g}{unit}, {found - most:,.6g} above the {most:,.6g}{unit} allowed"


def under(what: str, found: float, least: float, unit: str) -> str | None:
    """Say by how much a figure is below the least it must be."""
    if found >= least:
        return None
    return f"{what}: {found:,.6g}{unit}, {least - found:,.6g} below the {least:,.6g}{unit} asked for"


def p95(values: Sequence[float]) -> float:
    """Return the value that one in twenty is above; 0 of none."""
    return sorted(values)[(len(values) - 1) * 95 // 100] if values else 0.0
