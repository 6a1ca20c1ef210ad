"""Risk limits: limits an operator may change at runtime, with their bounds and the effect of a change.

The environment sets the initial value of each; the settings table takes names, bounds and defaults from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


class OutOfBounds(ValueError):
    """The value is outside the risk limit's bounds; the message gives the bounds."""


@dataclass(frozen=True, slots=True)
class RiskLimit:
    """One risk limit: a whole number of `unit`, from `low` to `high`."""

    low: int
    high: int
    default: int
    unit: str
    about: str
    """A short description, as a phrase."""
    effect: str
    """What an operator should know before changing it."""


TABLE: Mapping[str, RiskLimit] = MappingProxyType(
    {
        "ORDER_MAX_IMPACT_BPS": RiskLimit(
            *(1, 10_000, 1_000, "bps"),
            "maximum price impact of an order's own size, bps",
            "An order whose own size would move the price further fails; a limit or sniper order rests again. Lower is "
            "safer and rejects large orders sooner. Checked when a venue is chosen: signed transactions go on.",
        ),
        "MAX_ATTEMPTS": RiskLimit(
            *(1, 10, 3, "tries"),
            "tries before an order fails",
            "Safe to change under load: it never fails an order whose transaction is in flight, and nothing new is "
            "signed until the last transaction is proven dead. If lowered, orders between tries that have used up the "
            "new limit fail at their next try. If raised, orders that have not failed yet get the extra tries.",
        ),
        "QUOTE_FRESH_MS": RiskLimit(
            *(100, 60_000, 2_000, "ms"),
            "age up to which a quote counts as fresh; while there is a fresh one, orders are routed on fresh ones only",
            "Lower demands newer quotes, so orders wait for the venues more often. Must not exceed QUOTE_STALE_MS or "
            "be below the polling interval: no quote would stay fresh until the next. /readyz judges venues by it.",
        ),
        "QUOTE_STALE_MS": RiskLimit(
            *(100, 600_000, 10_000, "ms"),
            "maximum age at which a venue's last quote may still be used",
            "While no quote is fresh, orders are routed on the last quotes up to this age; past it, the venues are "
            "asked for each order. Higher rides out longer outages on older prices. Must not be below QUOTE_FRESH_MS.",
        ),
        "LIMIT_QUOTE_AGE_MS": RiskLimit(
            *(100, 60_000, 2_000, "ms"),
            "maximum age of a quote that may fire limit orders",
            "Lower fires only on the newest prices. While every quote of a pair is older, its limit orders rest.",
        ),
        "LIMIT_HOLD_POLLS": RiskLimit(
            *(1, 20, 1, "polls"),
            "polls for which a price must hold before it fires limit orders",
            "Above 1, a single bad print fires nothing, and every limit order fires that much later. Polls counted so "
            "far still count after a change.",
        ),
        "LIMIT_VENUES_APART_MAX_BPS": RiskLimit(
            *(1, 1_000_000, 2_500, "bps"),
            "maximum price difference between the venues for limit orders to fire, bps",
            "Venues further apart fire no limit order, because one of them is wrong. Lower keeps limit orders resting "
            "sooner. The sandbox's venues differ by up to 10 %, so a value below 1,000 often keeps them resting there.",
        ),
        "SNIPE_LIQUIDITY_MIN_USD": RiskLimit(
            *(0, 10**12, 10_000, "USD"),
            "minimum value of a token's pools for a sniper order to buy it",
            "A sniper order that fires on a token below it fails for good. 0 accepts every token whose pools' value "
            "is known.",
        ),
        "SNIPE_TOP_HOLDER_MAX_BPS": RiskLimit(
            *(0, 10_000, 3_000, "bps"),
            "maximum share of one holder in a token that a sniper order buys",
            "A sniper order that fires on a token with a larger holder fails for good. 10,000 accepts every token "
            "whose holders are known.",
        ),
        "SNIPE_MARKET_AGE_S": RiskLimit(
            *(1, 604_800, 3_600, "s"),
            "age past which the last observed value of a token's pools counts as unknown",
            "Lower buys on newer data only: a sniper order whose token's value has not been observed within this time "
            "waits until the market shows it. Launches do not age, and traded volume has its own window.",
        ),
        "SNIPE_FACTS_AGE_DAYS": RiskLimit(
            *(1, 3_650, 30, "days"),
            "age past which a token's authorities and top holder count as unknown",
            "Lower requires tokens to be looked up more often: a sniper order that fires on a token looked up earlier "
            "fails for good, unless it allows unknown values. Saving a token in the admin looks it up.",
        ),
    }
)


def check(name: str, value: int) -> None:
    """Check that a value is within the risk limit's bounds.

    Raises OutOfBounds.
    """
    limit = TABLE[name]
    if not limit.low <= value <= limit.high:
        raise OutOfBounds(f"{name} is {limit.low} to {limit.high} {limit.unit}, not {value}")


def disagreement(values: Mapping[str, int]) -> str | None:
    """Describe the two risk limits that contradict each other; None if none do."""
    fresh, stale = values["QUOTE_FRESH_MS"], values["QUOTE_STALE_MS"]
    if stale < fresh:
        return f"QUOTE_STALE_MS={stale}: must not be below QUOTE_FRESH_MS={fresh}"
    return None


def moved(defaults: Mapping[str, int], moves: Mapping[str, int]) -> dict[str, int]:
    """Return the operator's changes that are valid with these defaults.

    The environment may have changed since the operator made them.  Changes that contradict it are dropped.
    """
    sound = {name: value for name, value in moves.items() if name in TABLE and is_within(name, value)}
    if disagreement({**defaults, **sound}):
        return {name: value for name, value in sound.items() if name not in ("QUOTE_FRESH_MS", "QUOTE_STALE_MS")}
    return sound


def is_within(name: str, value: int) -> bool:
    """Tell whether a value is within the risk limit's bounds."""
    return TABLE[name].low <= value <= TABLE[name].high
