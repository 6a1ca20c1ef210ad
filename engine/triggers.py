"""When a waiting order fires: prices on a tick, which price may be trusted, and the conditions of a sniper."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from enum import StrEnum
from typing import Any

from engine.money import BPS, MATHS, plain
from engine.quotes import Pair, Quote

LEVEL_MAX = 2**53 - 1
"""The largest level a sorted set of Redis keeps exactly: its scores are doubles."""

FLOOR = Context(prec=50, rounding=ROUND_FLOOR)

WINDOW_MAX_S = 3_600
"""The longest window a traded volume can be asked for, in seconds."""


def level(price: Decimal, tick: Decimal) -> int:
    """Return how many whole ticks a price has: rounded down, so that a limit above the price is never reached."""
    return min(LEVEL_MAX, int(FLOOR.divide_int(price, tick)))


def on_tick(price: Decimal, tick: Decimal) -> bool:
    """Tell whether a price is a whole number of ticks."""
    return MATHS.remainder(price, tick) == 0


def nearest_ticks(price: Decimal, tick: Decimal) -> tuple[Decimal, Decimal]:
    """Return the prices on the tick below and above a price; a tick itself is the least price there is."""
    below = MATHS.multiply(FLOOR.divide_int(price, tick), tick)
    return max(below, tick), MATHS.add(below, tick)


@dataclass(frozen=True, slots=True)
class Distrust:
    """Why no price fires anything now."""

    reason: str


def trusted(
    quotes: Iterable[Quote], now: int, age_max_ms: int, compared_ms: int, apart_max_bps: int
) -> Quote | Distrust:
    """Return the quote that limit orders may fire on: the best of the young ones, unless another contradicts it.

    `now` in epoch milliseconds.  Only quotes at most `age_max_ms` old fire; any at most `compared_ms` old may
    contradict: a price more than `apart_max_bps` above another venue's, or below it, is somebody's mistake.
    """
    known = [quote for quote in quotes if quote.age(now) <= compared_ms]
    young = [quote for quote in known if quote.age(now) <= age_max_ms]
    if not young:
        return Distrust("no venue has a quote young enough")
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
    """A price that limit orders fire on, as it was when they were claimed: times in epoch milliseconds.

    Orders whose level is at most `level` are reached; the price has been at least that for so many polls.
    """

    level: int
    venue: str
    price: Decimal
    observed_at: int
    seen_at: int
    polls: int


class Kind(StrEnum):
    """What a sniper order may wait for."""

    LAUNCH = "launch"
    """The token's first pool appears."""
    LIQUIDITY = "liquidity"
    """The token's pools are worth at least so much."""
    VOLUME = "volume"
    """At least so much was traded within a window."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold: `at_least` in US cents, `window_ms` for a volume."""

    kind: Kind
    at_least: int = 0
    window_ms: int = 0

    @property
    def watched(self) -> str:
        """Name what must be watched for it: `launch`, `liquidity` or `volume:<seconds>`."""
        return f"volume:{self.window_ms // 1000}" if self.kind is Kind.VOLUME else str(self.kind)

    def as_dict(self) -> dict[str, Any]:
        """Write it as clients do."""
        if self.kind is Kind.LAUNCH:
            return {"kind": "launch"}
        if self.kind is Kind.LIQUIDITY:
            return {"kind": "liquidity", "atLeast": usd(self.at_least)}
        return {"kind": "volume", "atLeast": usd(self.at_least), "windowS": self.window_ms // 1000}


def condition_from(fields: Mapping[str, Any]) -> Condition:
    """Read a condition written by `as_dict`."""
    return Condition(Kind(fields["kind"]), cents(fields.get("atLeast", "0")), int(fields.get("windowS", 0)) * 1000)


@dataclass(frozen=True, slots=True)
class PriceWatch:
    """A price without which an order whose conditions hold does not buy: `at_least` so many ticks of its pair.

    It never lies above that price, so whoever looks for orders a price may fire misses none; whether it does is for
    exact arithmetic to say.
    """

    pair: str
    at_least: int

    @property
    def watched(self) -> str:
        """Name what must be watched for it: `price:<pair>`."""
        return f"price:{self.pair}"


Watch = Condition | PriceWatch
"""What an armed order watches for: it cannot fire before the value that `watched` names is `at_least` so much."""


def price_watch(pair: Pair, most: Decimal | None) -> PriceWatch:
    """Watch for a price at which one token out costs no more than `most` token in; any will do where that is None."""
    if most is None:
        return PriceWatch(pair.name, 0)
    # A tick less than that: the exact comparison rounds, too.
    return PriceWatch(pair.name, max(0, level(FLOOR.divide(Decimal(1), most), pair.tick) - 1))


def affords(most: Decimal, price: Decimal) -> bool:
    """Tell whether at this price, token out per token in, one token out costs no more than `most` token in."""
    return MATHS.multiply(price, most) >= 1


def usd(amount: int) -> str:
    """Write US cents as dollars."""
    return plain(Decimal(amount).scaleb(-2))


def cents(dollars: str) -> int:
    """Read dollars, with at most two decimals, as US cents."""
    return int(Decimal(dollars).scaleb(2))


@dataclass(frozen=True, slots=True)
class TokenState:
    """What the market has shown of a token: its pools, their worth and what was traded, in US cents.

    `volumes` maps a window in milliseconds to what was traded within it, for the windows that were asked for.
    """

    pools: int
    liquidity: int | None
    volumes: Mapping[int, int]


def holds(condition: Condition, state: TokenState) -> bool:
    """Tell whether a condition is met now; what is not known is not met."""
    match condition.kind:
        case Kind.LAUNCH:
            return state.pools > 0
        case Kind.LIQUIDITY:
            return state.liquidity is not None and state.liquidity >= condition.at_least
        case Kind.VOLUME:
            return state.volumes.get(condition.window_ms, 0) >= condition.at_least


def first_unmet(conditions: Sequence[Condition], state: TokenState) -> Condition | None:
    """Return the first condition that is not met, or None when all hold."""
    return next((condition for condition in conditions if not holds(condition, state)), None)
