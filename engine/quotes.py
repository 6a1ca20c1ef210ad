"""Quotes, their age, and which of them is the best."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from engine.amm import Pool, PoolExhausted
from engine.money import BPS, MATHS, PRICE_DIGITS, Token, from_units

TICK_DEFAULT = Decimal("0.000000001")
"""For a pair nobody has given one."""

AHEAD_MAX_MS = 1_000
"""How far ahead of the clock an observation may be and still be believed: clocks are read at different moments.

One further ahead was made by a clock that has stepped back since.
"""
PRICE_MAX = Decimal(10) ** 24
"""More than any token is worth in any other, and what the cache can still compare exactly."""
AGE_MAX_MS = 2**31 - 1
"""The age of what cannot have been observed when it says: above every limit."""


class NoQuote(Exception):
    """No venue can fill this order now; a retry may find one."""


class CannotFill(Exception):
    """The venues quote the pair, but no pool can pay for this amount; asking again will not change that."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A directed pair: `token_in` is sold for `token_out`.  Named SOL-USDC.

    A limit price is a whole number of `tick`s.
    """

    token_in: Token
    token_out: Token
    tick: Decimal = field(default=TICK_DEFAULT, compare=False)

    @property
    def name(self) -> str:
        """The pair as clients write it."""
        return f"{self.token_in.symbol}-{self.token_out.symbol}"


@dataclass(frozen=True, slots=True)
class Quote:
    """What a venue says one directed pair is worth at one moment (epoch milliseconds)."""

    venue: str
    pair: str
    price: Decimal
    fee_bps: int
    pool: Pool
    requested_at: int
    observed_at: int

    @property
    def net_price(self) -> Decimal:
        """The price less the venue's fee: what BEST compares."""
        return PRICE_DIGITS.multiply(self.price, Decimal(BPS - self.fee_bps) / BPS)

    @property
    def is_sound(self) -> bool:
        """Tell whether its price is a number that a price can be."""
        return self.price.is_finite() and abs(self.price) < PRICE_MAX

    def age(self, now: int) -> int:
        """Return its age in milliseconds: 0 where clocks differ a little, AGE_MAX_MS for one that is not believed."""
        age = now - self.observed_at
        return AGE_MAX_MS if age < -AHEAD_MAX_MS else max(0, age)


@dataclass(frozen=True, slots=True)
class Offer:
    """A quote worked out for one order's size; `amount_out` is in base units, fee paid."""

    quote: Quote
    amount_out: int

    def impact_bps(self, pair: Pair, amount_in: int) -> Decimal:
        """Return how far the fill lies below the quoted price less fee, in bps: what the order's own size costs."""
        ideal = MATHS.multiply(from_units(amount_in, pair.token_in), self.quote.net_price)
        filled = from_units(self.amount_out, pair.token_out)
        return MATHS.multiply(1 - MATHS.divide(filled, ideal), Decimal(BPS)).quantize(Decimal("0.01"))


def best(quotes: Iterable[Quote]) -> Quote | None:
    """Return the quote with the highest price less fee; the first of equals."""
    return max((quote for quote in quotes if quote.price > 0), key=lambda quote: quote.net_price, default=None)


def offers(quotes: Iterable[Quote], amount_in: int) -> list[Offer]:
    """Size the quotes for `amount_in` base units, best first.

    Raises NoQuote when there are no quotes, CannotFill when no pool can pay for the amount.
    """
    found, reasons = [], []
    for quote in quotes:
        try:
            found.append(Offer(quote, quote.pool.out(amount_in, quote.fee_bps)))
        except PoolExhausted as reason:
            reasons.append(f"{quote.venue}: {reason}")
    if reasons and not found:
        raise CannotFill("; ".join(reasons))
    if not found:
        raise NoQuote("no venue has quoted this pair")
    return sorted(found, key=lambda offer: -offer.amount_out)
