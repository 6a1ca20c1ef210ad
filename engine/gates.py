"""What a token must show before a sniper order buys it; what is unknown does not pass unless the order says otherwise.

Not to pass is to be refused for good, except where the market alone has yet to show something: see `awaits_market`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.money import plain
from engine.triggers import usd


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What is known of a token; None is unknown.

    An authority is an address, or empty when it has been given up.  Liquidity in US cents, the largest holder's share
    in bps.
    """

    mint_authority: str | None = None
    freeze_authority: str | None = None
    liquidity: int | None = None
    top_holder_bps: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gates demand: least liquidity in US cents, largest share of one holder in bps."""

    liquidity_min: int
    top_holder_max_bps: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """One gate's judgement; `value` is None when unknown."""

    gate: str
    value: str | None
    source: str
    passed: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Write it for an event."""
        return {
            "gate": self.gate,
            "value": self.value,
            "source": self.source,
            "verdict": "pass" if self.passed else "refuse",
            "reason": self.reason,
        }


TOKEN, MARKET = "token", "market"
"""Where a value comes from: the token's own record, or the market's events."""


def judge(facts: TokenFacts, limits: Limits, *, allow_unknown: bool) -> list[Verdict]:
    """Put a token through every gate, in a fixed order."""
    return [
        authority("mintAuthority", facts.mint_authority, "more can be minted", allow_unknown),
        authority("freezeAuthority", facts.freeze_authority, "holdings can be frozen", allow_unknown),
        liquidity(facts.liquidity, limits.liquidity_min, allow_unknown),
        top_holder(facts.top_holder_bps, limits.top_holder_max_bps, allow_unknown),
    ]


def authority(gate: str, holder: str | None, danger: str, allow_unknown: bool) -> Verdict:
    """Refuse a token over which somebody still has this power."""
    if holder is None:
        return unknown(gate, TOKEN, allow_unknown)
    if holder:
        return Verdict(gate, holder, TOKEN, False, f"{danger} by {holder}")
    return Verdict(gate, "none", TOKEN, True, "it has been given up")


def liquidity(value: int | None, least: int, allow_unknown: bool) -> Verdict:
    """Refuse a token whose pools are worth too little."""
    if value is None:
        return unknown("liquidity", MARKET, allow_unknown)
    passed = value >= least
    return Verdict("liquidity", usd(value), MARKET, passed, f"{'at least' if passed else 'less than'} {usd(least)} USD")


def top_holder(share_bps: int | None, most_bps: int, allow_unknown: bool) -> Verdict:
    """Refuse a token of which one holder has too much."""
    if share_bps is None:
        return unknown("topHolder", TOKEN, allow_unknown)
    passed = share_bps <= most_bps
    percent, most = (plain(Decimal(bps).scaleb(-2)) for bps in (share_bps, most_bps))
    return Verdict("topHolder", f"{percent} %", TOKEN, passed, f"{'at most' if passed else 'more than'} {most} %")


def unknown(gate: str, source: str, allowed: bool) -> Verdict:
    """Judge what nobody knows."""
    return Verdict(gate, None, source, allowed, "unknown, which the order allows" if allowed else "unknown")


def refusals(verdicts: Sequence[Verdict]) -> str:
    """Say which gates refused and why; empty when all passed."""
    return "; ".join(f"{verdict.gate}: {verdict.reason}" for verdict in verdicts if not verdict.passed)


def awaits_market(verdicts: Sequence[Verdict]) -> bool:
    """Tell whether only the market's silence keeps a token from passing: its next event may end that.

    Nothing that is known speaks against the token, so nothing is decided yet.
    """
    against = [verdict for verdict in verdicts if not verdict.passed]
    return bool(against) and all(verdict.source == MARKET and verdict.value is None for verdict in against)
