"""Quotes: their age, the best of them, and their output for an order's size."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from engine.amm import Pool, PoolExhausted
from engine.money import BPS, MATHS, PRICE_DIGITS, Token, from_units

TICK_DEFAULT = Decimal("0.000000001")
"""The tick of a pair without its own."""

AHEAD_MAX_MS = 1_000
"""How far ahead of the clock an observation may be and still count: clocks are read at different moments.

An observation further ahead was made by a clock that has since stepped back.
"""
PRICE_MAX = Decimal(10) ** 24
"""Above the price of any token in any other, and still small enough for the cache to compare exactly."""
AGE_MAX_MS = 2**31 - 1
"""The age of a quote whose observation time is impossible: above every limit."""


QUOTE_TOKENS = ("USDC", "USDT", "SOL")
"""Tokens that others are priced in; of two in one pair, the first is its quote token."""


def quote_rank(symbol: str) -> int:
    """Return the token's place among QUOTE_TOKENS; behind them all if it is none."""
    return QUOTE_TOKENS.index(symbol) if symbol in QUOTE_TOKENS else len(QUOTE_TOKENS)


def is_purchase(token_in: str, token_out: str) -> bool:
    """Whether an order buys: it is not a sale for its quote token, the first of QUOTE_TOKENS that it trades."""
    return quote_rank(token_in) <= quote_rank(token_out)


class NoQuote(Exception):
    """No venue can fill this order now; a retry may find one."""


class CannotFill(Exception):
    """The venues quote the pair, but no pool can fill this amount; a retry does not help."""


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
        """The pair's name, as clients write it."""
        return f"{self.token_in.symbol}-{self.token_out.symbol}"

    @property
    def buys(self) -> bool:
        """Whether it buys its base token."""
        return is_purchase(self.token_in.symbol, self.token_out.symbol)


@dataclass(frozen=True, slots=True)
class Quote:
    """A venue's price for one directed pair at one moment (epoch milliseconds)."""

    venue: str
    pair: str
    price: Decimal
    fee_bps: int
    pool: Pool
    requested_at: int
    observed_at: int

    @property
    def net_price(self) -> Decimal:
        """The price less the venue's fee; BEST is chosen by it."""
        return PRICE_DIGITS.multiply(self.price, Decimal(BPS - self.fee_bps) / BPS)

    @property
    def is_sound(self) -> bool:
        """Tell whether its price is finite and within PRICE_MAX."""
        return self.price.is_finite() and abs(self.price) < PRICE_MAX

    def age(self, now: int) -> int:
        """Return its age in milliseconds: 0 if the clocks differ slightly, AGE_MAX_MS if its time is not credible."""
        age = now - self.observed_at
        return AGE_MAX_MS if age < -AHEAD_MAX_MS else max(0, age)


@dataclass(frozen=True, slots=True)
class Offer:
    """A quote applied to one order's size; amounts are in base units, `amount_in` with the fee."""

    quote: Quote
    amount_in: int
    amount_out: int

    def impact_bps(self, pair: Pair) -> Decimal:
        """Return the price impact of the order's size in bps: how far its fill is below the quoted price less fee."""
        ideal = MATHS.multiply(from_units(self.amount_in, pair.token_in), self.quote.net_price)
        filled = from_units(self.amount_out, pair.token_out)
        return MATHS.multiply(1 - MATHS.divide(filled, ideal), Decimal(BPS)).quantize(Decimal("0.01"))


def best(quotes: Iterable[Quote]) -> Quote | None:
    """Return the quote with the highest price less fee; on a tie, the first."""
    return max((quote for quote in quotes if quote.price > 0), key=lambda quote: quote.net_price, default=None)


def offers(quotes: Iterable[Quote], amount_in: int, amount_out: int | None = None) -> list[Offer]:
    """Apply the quotes to an order, best first: to `amount_in` base units to sell, or to `amount_out` to buy exactly.

    The best pays the most for `amount_in`, or needs the least for `amount_out`.

    A quote whose price less fee is not positive is no quote, whatever its pool would pay.

    Raises NoQuote when there are no quotes, CannotFill when no pool can fill the amount.
    """
    found, reasons = [], []
    for quote in quotes:
        if quote.net_price <= 0:
            continue
        try:
            found.append(offer(quote, amount_in, amount_out))
        except PoolExhausted as reason:
            reasons.append(f"{quote.venue}: {reason}")
    if reasons and not found:
        raise CannotFill("; ".join(reasons))
    if not found:
        raise NoQuote("no venue has quoted this pair")
    return sorted(found, key=lambda offer: (offer.amount_in, -offer.amount_out))


def offer(quote: Quote, amount_in: int, amount_out: int | None) -> Offer:
    """Apply one quote.

    Raises PoolExhausted.
    """
    if amount_out is None:
        return Offer(quote, amount_in, quote.pool.out(amount_in, quote.fee_bps))
    return Offer(quote, quote.pool.needed(amount_out, quote.fee_bps), amount_out)
