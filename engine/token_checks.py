"""Token checks: the conditions a token must meet before a sniper order buys it.

An unknown value fails its check unless the order allows unknown values.  A failed check fails the order for good, with
one exception: an order that lacks only data from the market keeps waiting (`awaits_market`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.money import plain
from engine.triggers import usd


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """The known facts about a token; None is unknown.

    An authority is an address, or empty if it has been renounced.  Liquidity is in US cents, the largest holder's share
    in bps.
    """

    mint_authority: str | None = None
    freeze_authority: str | None = None
    liquidity: int | None = None
    top_holder_bps: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the token checks: minimum liquidity in US cents, maximum share of one holder in bps."""

    liquidity_min: int
    top_holder_max_bps: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one token check; `value` is None when unknown."""

    check: str
    value: str | None
    source: str
    passed: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Serialize the verdict for an event."""
        return {
            "gate": self.check,
            "value": self.value,
            "source": self.source,
            "verdict": "pass" if self.passed else "refuse",
            "reason": self.reason,
        }


TOKEN, MARKET = "token", "market"
"""The source of a checked value: the token's own record, or the market's events."""


def judge(facts: TokenFacts, limits: Limits, *, allow_unknown: bool) -> list[Verdict]:
    """Run every token check, in a fixed order."""
    return [
        authority("mintAuthority", facts.mint_authority, "more can be minted", allow_unknown),
        authority("freezeAuthority", facts.freeze_authority, "holdings can be frozen", allow_unknown),
        liquidity(facts.liquidity, limits.liquidity_min, allow_unknown),
        top_holder(facts.top_holder_bps, limits.top_holder_max_bps, allow_unknown),
    ]


def authority(check: str, holder: str | None, danger: str, allow_unknown: bool) -> Verdict:
    """Refuse a token whose mint or freeze authority has not been renounced."""
    if holder is None:
        return unknown(check, TOKEN, allow_unknown)
    if holder:
        return Verdict(check, holder, TOKEN, False, f"{danger} by {holder}")
    return Verdict(check, "none", TOKEN, True, "renounced")


def liquidity(value: int | None, least: int, allow_unknown: bool) -> Verdict:
    """Refuse a token whose pools hold too little liquidity."""
    if value is None:
        return unknown("liquidity", MARKET, allow_unknown)
    passed = value >= least
    return Verdict("liquidity", usd(value), MARKET, passed, f"{'at least' if passed else 'less than'} {usd(least)} USD")


def top_holder(share_bps: int | None, most_bps: int, allow_unknown: bool) -> Verdict:
    """Refuse a token whose largest holder has too large a share."""
    if share_bps is None:
        return unknown("topHolder", TOKEN, allow_unknown)
    passed = share_bps <= most_bps
    percent, most = (plain(Decimal(bps).scaleb(-2)) for bps in (share_bps, most_bps))
    return Verdict("topHolder", f"{percent} %", TOKEN, passed, f"{'at most' if passed else 'more than'} {most} %")


def unknown(check: str, source: str, allowed: bool) -> Verdict:
    """Return the verdict on an unknown value: it passes only if the order allows that."""
    return Verdict(check, None, source, allowed, "unknown, which the order allows" if allowed else "unknown")


def refusals(verdicts: Sequence[Verdict]) -> str:
    """List the checks that failed, with their reasons; empty when all passed."""
    return "; ".join(f"{verdict.check}: {verdict.reason}" for verdict in verdicts if not verdict.passed)


def awaits_market(verdicts: Sequence[Verdict]) -> bool:
    """Tell whether a token fails only because the market has not yet reported a value.

    The token's next market event may supply it.  No known value has failed a check, so the order is not refused yet.
    """
    against = [verdict for verdict in verdicts if not verdict.passed]
    return bool(against) and all(verdict.source == MARKET and verdict.value is None for verdict in against)
