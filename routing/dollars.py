"""What amounts are worth in US dollars, by the venues' last quotes against USDC, which counts as one dollar."""

import time
from collections.abc import Collection, Mapping
from decimal import ROUND_CEILING, Decimal

from engine.money import MATHS, Token, from_units
from routing.quotes import cached
from routing.risk_limits import risk_limits
from routing.store import StoreError, now_ms

DOLLAR = "USDC"
CENT = Decimal("0.01")
RECENT_S = 0.5
KEPT_S = 60.0
"""How long a price counts for which no newer one can be read: Redis may be away, or empty."""


class Prices:
    """Dollars per whole token, as this process last read them."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Decimal, float]] = {}
        """Price and time of reading, in monotonic seconds, by symbol."""

    def __call__(self, symbols: Collection[str]) -> Mapping[str, Decimal]:
        """Return the prices of these tokens, each the highest that a venue quotes before its fee.

        Tokens without a quote within QUOTE_STALE_MS, and without a price in the last KEPT_S, are left out.
        """
        now = time.monotonic()
        self.read({symbol for symbol in symbols if symbol != DOLLAR and self.age(symbol, now) > RECENT_S}, now)
        found = {symbol: self.known[symbol][0] for symbol in symbols if self.age(symbol, now) <= KEPT_S}
        return found | {DOLLAR: Decimal(1)}

    def age(self, symbol: str, now: float) -> float:
        """Return for how long a price has been known, in seconds; infinite if it is not."""
        return now - self.known[symbol][1] if symbol in self.known else float("inf")

    def read(self, symbols: Collection[str], now: float) -> None:
        """Read the prices of these tokens as far as there are any."""
        pairs = {f"{symbol}-{DOLLAR}": symbol for symbol in symbols}
        try:
            quoted = cached(pairs) if pairs else {}
            at = now_ms()
        except StoreError:
            return
        for pair, entry in quoted.items():
            usable = [quote.price for quote in entry.quotes if quote.age(at) <= risk_limits.QUOTE_STALE_MS]
            if usable:
                self.known[pairs[pair]] = max(usable), now


prices = Prices()


def worth(amount: int, token: Token, price: Decimal) -> Decimal:
    """Return what an amount in base units is worth at a price in dollars, rounded up to the cent."""
    return MATHS.multiply(from_units(amount, token), price).quantize(CENT, ROUND_CEILING, context=MATHS)
