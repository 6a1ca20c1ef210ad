"""Risk limits: limits an operator may change at runtime, with their bounds and the effect of a change.

The environment sets the initial value of each; the settings table takes names, bounds and defaults from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


class OutOfBounds(ValueError):
    """The value is outside the risk limit's bounds; the message gives the bounds."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One risk limit: a whole number of `unit`, from `low` to `high`."""

    low: int
    high: int
    default: int
    unit: str
    about: str
    """A short description, as a phrase."""
    effect: str
    """What an operator should know before changing it."""


TABLE: Mapping[str, Guard] = MappingProxyType(
    {
        "ORDER_MAX_IMPACT_BPS": Guard(
            *(1, 10_000, 1_000, "bps"),
            "worst price impact of its own size an order may have, bps",
            "An order that would move the price further by its own size fails, or rests again when it waits. Lower is "
            "safer and refuses large orders sooner. Asked when a venue is chosen: what is signed already goes on.",
        ),
        "MAX_ATTEMPTS": Guard(
            *(1, 10, 3, "tries"),
            "tries before an order fails",
            "Safe to move under load: an order with a transaction on its way is never failed by it, and none is signed "
            "anew before the last one is proven dead. Lowered, orders between two tries that have had as many fail at "
            "their next; raised, orders not yet failed get the further tries.",
        ),
        "QUOTE_FRESH_MS": Guard(
            *(100, 60_000, 2_000, "ms"),
            "age up to which BEST is routed on at once",
            "Lower demands younger quotes: orders then wait for the venues more often. Not above QUOTE_STALE_MS, and "
            "not below the polling interval, or no quote would stay fresh until the next. /readyz judges venues by it.",
        ),
        "QUOTE_STALE_MS": Guard(
            *(100, 600_000, 10_000, "ms"),
            "age up to which a venue's last quote may still be used",
            "While no quote is fresh, orders are routed on the last ones up to this age; past it the venues are asked "
            "for the order itself. Higher rides out longer outages on older prices. Not below QUOTE_FRESH_MS.",
        ),
        "LIMIT_QUOTE_AGE_MS": Guard(
            *(100, 60_000, 2_000, "ms"),
            "age past which a quote fires no limit order",
            "Lower fires only on the youngest prices. While every quote of a pair is older, its limit orders rest.",
        ),
        "LIMIT_HOLD_POLLS": Guard(
            *(1, 20, 1, "polls"),
            "polls for which a price must hold before it fires limit orders",
            "Above 1 one bad print fires nothing, and every limit order fires as many polls later. A run of prices "
            "that was counted so far goes on counting.",
        ),
        "LIMIT_VENUES_APART_MAX_BPS": Guard(
            *(1, 1_000_000, 2_500, "bps"),
            "venues further apart than this fire no limit order: one of them is wrong",
            "Lower rests limit orders sooner when the venues disagree; the sandbox's own differ by up to 10 %, so a "
            "value below 1,000 rests them often there.",
        ),
        "SNIPE_LIQUIDITY_MIN_USD": Guard(
            *(0, 10**12, 10_000, "USD"),
            "least a token's pools must be worth before a sniper order buys it",
            "A sniper order that fires on a token worth less is refused for good. 0 lets every token pass whose worth "
            "is known.",
        ),
        "SNIPE_TOP_HOLDER_MAX_BPS": Guard(
            *(0, 10_000, 3_000, "bps"),
            "largest share of one holder in a token a sniper order buys",
            "A sniper order that fires on a token of which somebody holds more is refused for good. 10,000 lets every "
            "token pass whose holders are known.",
        ),
        "SNIPE_MARKET_AGE_S": Guard(
            *(1, 604_800, 3_600, "s"),
            "age past which what a token's pools were last seen to be worth is unknown",
            "Lower buys on younger knowledge only: a sniper order whose token nobody has seen the worth of since then "
            "waits until the market shows it. Launches are for good, and what was traded has its own window.",
        ),
        "SNIPE_FACTS_AGE_DAYS": Guard(
            *(1, 3_650, 30, "days"),
            "age past which a token's authorities and its top holder are unknown",
            "Lower demands that tokens are looked up more often: a sniper order that fires on one looked up longer ago "
            "is refused for good, unless it allows what is unknown. Saving a token in the admin looks it up.",
        ),
    }
)


def check(name: str, value: int) -> None:
    """Check that a value is within the risk limit's bounds.

    Raises OutOfBounds.
    """
    guard = TABLE[name]
    if not guard.low <= value <= guard.high:
        raise OutOfBounds(f"{name} is {guard.low} to {guard.high} {guard.unit}, not {value}")


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
