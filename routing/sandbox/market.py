"""The sandbox market: every price is a pure function of time, a seed and the settings, the same in all processes.

Prices are integers until the last division.  Randomness is a hash of (seed, what, which knot), so no state is stored or
shared; between two knots a value follows a smoothstep.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b

from engine.amm import Q64, Bins, ConstantProduct, Pool
from engine.money import BPS, MATHS, PRICE_DIGITS, Token
from engine.quotes import Pair
from routing.sandbox.replay import Replay

ATTO = 10**18
ATTO_IN_PICO = 10**6
PPB = 10**9

ANCHOR_ATTO_USD = {
    "SOL": 155 * ATTO,
    "JUP": 85 * ATTO // 100,
    "RAY": 24 * ATTO // 10,
    "BONK": 22 * ATTO // 10**6,
    "WIF": 19 * ATTO // 10,
}
"""The price around which each token moves, in 1e-18 USD."""

STABLE = frozenset({"USDC", "USDT"})
"""Always worth one dollar, so a price in USD is a price in either of them."""
FUNDED = ",".join(sorted({*ANCHOR_ATTO_USD, *STABLE}))
"""The tokens that accounts have before they trade; what is launched later has to be bought."""


@dataclass(frozen=True, slots=True)
class Course:
    """A random curve through knots `apart_ms` apart; the magnitude of each is `low` to `high`, its sign is random."""

    name: str
    apart_ms: int
    low: int
    high: int

    def at(self, at_ms: int, seed: int, of: str) -> int:
        """Return the value of this course for `of`; its magnitude never exceeds `high`."""
        knot, into_ms = divmod(at_ms, self.apart_ms)
        start, end = _knot(self, knot, seed, of), _knot(self, knot + 1, seed, of)
        # Smoothstep, 3x^2 - 2x^3, on integers.
        return start + (end - start) * into_ms * into_ms * (3 * self.apart_ms - 2 * into_ms) // self.apart_ms**3


@lru_cache(maxsize=8192)
def _knot(course: Course, knot: int, seed: int, of: str) -> int:
    chance = _hash(f"{seed}:{course.name}:{of}:{knot}")
    size = course.low + (chance >> 1) % (course.high - course.low + 1)
    return size if chance & 1 else -size


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


TIDE = Course("tide", 7_200_000, 0, 30_000_000)
WAVE = Course("wave", 600_000, 0, 2_000_000)
"""The movement of a mid price, in parts per billion: 3 % over two hours, 0.2 % over ten minutes."""

DEVIATION_KNOT_MS = 120_000
"""The time between a venue's knots.  From +5 % to -5 %, a smoothstep of this length moves at most 12.5 bps per second,
so the default slippage of 50 bps covers a second of settlement."""

POOL_USD = 40_000_000
"""Value of each side of a Raydium pool: an order of 1,000 USD moves its price by half a basis point."""

BIN_STEP_BPS = 10
BIN_USD = 25_000
"""Value of each bin of a Meteora pool: about the depth of the Raydium pool over the first percent."""


@dataclass(frozen=True, slots=True)
class Market:
    """Prices and pools of every pair at any time (epoch milliseconds).

    At its knots, a venue deviates from the mid price by `variation_bps_low` to `variation_bps_high`; it crosses the mid
    price on its way to a knot on the other side.  If both are zero, every venue pays exactly the mid price.
    """

    seed: int
    variation_bps_low: int
    variation_bps_high: int
    replay: Replay | None = None

    def mid(self, pair: Pair, at_ms: int) -> Decimal:
        """Return the mid price: whole tokens out per whole token in, to 12 significant digits."""
        return _ratio(self._atto_usd(pair.token_in, at_ms), self._atto_usd(pair.token_out, at_ms))

    def price(self, venue: str, pair: Pair, at_ms: int) -> Decimal:
        """Return the venue's price before fees; the price of the reverse pair is its reciprocal."""
        above, below = self._deviation(venue, pair, at_ms)
        sold, bought = self._atto_usd(pair.token_in, at_ms), self._atto_usd(pair.token_out, at_ms)
        return _ratio(sold * above, bought * below)

    def pool(self, venue: str, pair: Pair, at_ms: int, off_bps: int = 0) -> Pool:
        """Return the venue's pool; its spot price is the venue's price, shifted by `off_bps` (above 0 is better)."""
        price = self.price(venue, pair, at_ms)
        if off_bps:
            price = PRICE_DIGITS.multiply(price, Decimal(BPS + off_bps) / BPS)
        in_base_units = price.scaleb(pair.token_out.decimals - pair.token_in.decimals, MATHS)
        if venue == "METEORA":
            bin_out = _worth(BIN_USD, pair.token_out, self._atto_usd(pair.token_out, at_ms))
            return Bins(round(MATHS.multiply(in_base_units, Q64)), BIN_STEP_BPS, bin_out)
        reserve_in = _worth(POOL_USD, pair.token_in, self._atto_usd(pair.token_in, at_ms))
        return ConstantProduct(reserve_in, round(MATHS.multiply(in_base_units, reserve_in)))

    def _atto_usd(self, token: Token, at_ms: int) -> int:
        if token.symbol in STABLE:
            return ATTO
        if self.replay is not None and token.symbol == self.replay.symbol:
            return self.replay.pico_usd(at_ms) * ATTO_IN_PICO
        stray = TIDE.at(at_ms, self.seed, token.mint) + WAVE.at(at_ms, self.seed, token.mint)
        return _anchor(token) * (PPB + stray) // PPB

    def _deviation(self, venue: str, pair: Pair, at_ms: int) -> tuple[int, int]:
        """Return the factor from the mid price to the venue's, as a fraction of two integers.

        It is 1 + d above the mid price and 1 / (1 + d) below it, so d bounds the deviation in both directions of the
        pair.
        """
        if not self.variation_bps_high:
            return 1, 1
        first, second = sorted((pair.token_in.mint, pair.token_out.mint))
        low, high = self.variation_bps_low * PPB // BPS, self.variation_bps_high * PPB // BPS
        stray = Course(venue, DEVIATION_KNOT_MS, low, high).at(at_ms, self.seed, first + second)
        dear = stray if pair.token_in.mint == first else -stray
        return (PPB + dear, PPB) if dear > 0 else (PPB, PPB - dear)


def _ratio(above: int, below: int) -> Decimal:
    return PRICE_DIGITS.divide(Decimal(above), Decimal(below))


def _worth(usd: int, token: Token, atto_usd: int) -> int:
    """Return the base units of a token that are worth this many dollars."""
    base_units: int = 10**token.decimals
    return usd * ATTO * base_units // atto_usd


@lru_cache(maxsize=1024)
def _anchor(token: Token) -> int:
    """Return the price around which a token moves; one without an anchor gets 1 cent to 10 dollars, by its mint."""
    return ANCHOR_ATTO_USD.get(token.symbol) or ATTO // 100 * (1 + _hash(token.mint) % 1000)
