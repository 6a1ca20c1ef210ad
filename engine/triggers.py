"""When a waiting order triggers: price levels, the trusted price, and the conditions of a sniper order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from enum import StrEnum
from typing import Any

from engine.money import BPS, MATHS, plain
from engine.quotes import Pair, Quote

LEVEL_MAX = 2**53 - 1
"""The largest level a Redis sorted set stores exactly: its scores are doubles."""

FLOOR = Context(prec=50, rounding=ROUND_FLOOR)

WINDOW_MAX_S = 3_600
"""The longest window of a volume condition, in seconds."""


def level(price: Decimal, tick: Decimal) -> int:
    """Return a price in whole ticks, rounded down, so that a limit above the price is never reached."""
    return min(LEVEL_MAX, int(FLOOR.divide_int(price, tick)))


def on_tick(price: Decimal, tick: Decimal) -> bool:
    """Tell whether a price is a whole number of ticks."""
    return MATHS.remainder(price, tick) == 0


def nearest_ticks(price: Decimal, tick: Decimal) -> tuple[Decimal, Decimal]:
    """Return the nearest prices on the tick below and above a price; the lowest possible price is one tick."""
    below = MATHS.multiply(FLOOR.divide_int(price, tick), tick)
    return max(below, tick), MATHS.add(below, tick)


@dataclass(frozen=True, slots=True)
class Distrust:
    """The reason why no price may trigger limit orders now."""

    reason: str


def trusted(
    quotes: Iterable[Quote], now: int, age_max_ms: int, compared_ms: int, apart_max_bps: int
) -> Quote | Distrust:
    """Return the quote that limit orders may trigger on: the best recent one, unless another quote contradicts it.

    `now` is in epoch milliseconds.  Only a quote at most `age_max_ms` old may trigger orders; any quote at most
    `compared_ms` old may contradict it.  Two prices more than `apart_max_bps` apart mean that one of them is wrong.
    """
    known = [quote for quote in quotes if quote.age(now) <= compared_ms]
    young = [quote for quote in known if quote.age(now) <= age_max_ms]
    if not young:
        return Distrust("no venue has a fresh enough quote")
    if any(quote.price <= 0 for quote in known):
        return Distrust("a venue quotes a price that is not above zero")
    highest = max(young, key=lambda quote: quote.net_price)
    for other in known:
        low, high = sorted((highest.net_price, other.net_price))
        if high * BPS > low * (BPS + apart_max_bps):
            return Distrust(
                f"{highest.venue} quotes {plain(highest.net_price)}, {other.venue} {plain(other.net_price)}"
            )
    return highest


@dataclass(frozen=True, slots=True)
class Sighting:
    """The price that limit orders triggered on, as of their claim; times are in epoch milliseconds.

    It reaches orders whose level is at most `level`; the price has held at least that level for `polls` polls.
    """

    level: int
    venue: str
    price: Decimal
    observed_at: int
    seen_at: int
    polls: int


class Kind(StrEnum):
    """The kinds of conditions of a sniper order."""

    LAUNCH = "launch"
    """The token has its first pool."""
    LIQUIDITY = "liquidity"
    """The liquidity of the token's pools is at least the threshold."""
    VOLUME = "volume"
    """The volume traded within a window is at least the threshold."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a sniper order: `at_least` is in US cents, `window_ms` is for volume only."""

    kind: Kind
    at_least: int = 0
    window_ms: int = 0

    @property
    def watched(self) -> str:
        """Name the index that the order is in while it waits: `launch`, `liquidity` or `volume:<seconds>`."""
        return f"volume:{self.window_ms // 1000}" if self.kind is Kind.VOLUME else str(self.kind)

    def as_dict(self) -> dict[str, Any]:
        """Serialize the condition in the clients' format."""
        if self.kind is Kind.LAUNCH:
            return {"kind": "launch"}
        if self.kind is Kind.LIQUIDITY:
            return {"kind": "liquidity", "atLeast": usd(self.at_least)}
        return {"kind": "volume", "atLeast": usd(self.at_least), "windowS": self.window_ms // 1000}


def condition_from(fields: Mapping[str, Any]) -> Condition:
    """Parse a condition written by `as_dict`."""
    return Condition(Kind(fields["kind"]), cents(fields.get("atLeast", "0")), int(fields.get("windowS", 0)) * 1000)


@dataclass(frozen=True, slots=True)
class PriceWatch:
    """A price watch: the price, in ticks of the pair, that an order still needs after its conditions are met.

    `at_least` is never above the order's exact price, so a search by price misses no order that may trigger.  The exact
    comparison decides whether it does.
    """

    pair: str
    at_least: int

    @property
    def watched(self) -> str:
        """Name the index that the order is in while it waits: `price:<pair>`."""
        return f"price:{self.pair}"


Watch = Condition | PriceWatch
"""What an armed order waits for: it cannot trigger before the value named by `watched` reaches `at_least`."""


def price_watch(pair: Pair, most: Decimal | None) -> PriceWatch:
    """Return the watch for a price at which one token out costs at most `most` token in; None accepts any price."""
    if most is None:
        return PriceWatch(pair.name, 0)
    # One tick less, because the exact comparison rounds, too.
    return PriceWatch(pair.name, max(0, level(FLOOR.divide(Decimal(1), most), pair.tick) - 1))


def affords(most: Decimal, price: Decimal) -> bool:
    """Tell whether one token out costs at most `most` token in at this price (token out per token in)."""
    return MATHS.multiply(price, most) >= 1


def usd(amount: int) -> str:
    """Format US cents as dollars."""
    return plain(Decimal(amount).scaleb(-2))


def cents(dollars: str) -> int:
    """Parse dollars, with at most two decimals, into US cents."""
    return int(Decimal(dollars).scaleb(2))


@dataclass(frozen=True, slots=True)
class TokenState:
    """The state of a token's market: number of pools, their liquidity and the traded volumes, in US cents.

    `volumes` maps each requested window, in milliseconds, to the volume traded within it.
    """

    pools: int
    liquidity: int | None
    volumes: Mapping[int, int]


def holds(condition: Condition, state: TokenState) -> bool:
    """Tell whether a condition is met now; an unknown value does not meet it."""
    match condition.kind:
        case Kind.LAUNCH:
            return state.pools > 0
        case Kind.LIQUIDITY:
            return state.liquidity is not None and state.liquidity >= condition.at_least
        case Kind.VOLUME:
            return state.volumes.get(condition.window_ms, 0) >= condition.at_least


def valued(condition: Condition, state: TokenState) -> dict[str, Any]:
    """State a condition and the market's value for it: a number of pools, or US dollars."""
    match condition.kind:
        case Kind.LAUNCH:
            value = str(state.pools)
        case Kind.LIQUIDITY:
            value = usd(state.liquidity or 0)
        case Kind.VOLUME:
            value = usd(state.volumes.get(condition.window_ms, 0))
    return {**condition.as_dict(), "value": value}


def judged(condition: Condition, state: TokenState) -> dict[str, Any]:
    """State a condition, the market's value for it and whether it is met."""
    return {**valued(condition, state), "met": holds(condition, state)}


def first_unmet(conditions: Sequence[Condition], state: TokenState) -> Condition | None:
    """Return the first condition that is not met, or None when all are met."""
    return next((condition for condition in conditions if not holds(condition, state)), None)
