"""Amounts as integers in base units, prices as decimals, explicit rounding.  No floats."""

from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal, Inexact, InvalidOperation

MATHS = Context(prec=50)
"""Precise enough that a u64 amount times a price is exact until it is rounded once."""

EXACT = Context(prec=50, traps=[Inexact, InvalidOperation])
"""Traps rounding: otherwise a 51st digit of a client's amount would be dropped silently."""

PRICE_DIGITS = Context(prec=12)
"""Significant digits of a price shown to a client."""

U64_MAX = 2**64 - 1
"""A Solana token amount is an unsigned 64-bit integer."""

BPS = 10_000
"""Basis points in one: 50 bps are 0.5 %."""


class BadAmount(ValueError):
    """The value is not a valid amount of this token; the message says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, identified by its mint; one whole token is 10**decimals base units.

    A token that is not `listed` yet is known only by its mint, which is also its symbol; its decimals mean nothing.
    """

    symbol: str
    mint: str
    decimals: int
    listed: bool = True


def to_units(amount: Decimal, token: Token) -> int:
    """Convert whole tokens to base units, exactly.

    Raises BadAmount if it is not positive, has digits below one base unit, or exceeds u64.
    """
    if not amount.is_finite() or amount <= 0:
        raise BadAmount("must be greater than zero")
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)
    # Bound the exponent first: scaling 1e999999999 would take forever.
    if amount.adjusted() > 20:
        raise BadAmount(f"must be at most {plain(from_units(U64_MAX, token))} {token.symbol}")
    if amount.adjusted() < -token.decimals:
        raise BadAmount(
            f"{token.symbol} has {token.decimals} decimals; the smallest amount is {plain(from_units(1, token))}"
        )
    try:
        units = EXACT.scaleb(amount, token.decimals)
    except (Inexact, InvalidOperation):
        raise BadAmount("has too many digits") from None
    if units != units.to_integral_value(ROUND_DOWN):
        raise BadAmount(f"{token.symbol} has {token.decimals} decimals; this has more")
    if units > U64_MAX:
        raise BadAmount(f"must be at most {plain(from_units(U64_MAX, token))} {token.symbol}")
    return int(units)


def from_units(units: int, token: Token) -> Decimal:
    """Convert base units to whole tokens, exactly."""
    return MATHS.scaleb(Decimal(units), -token.decimals)


def plain(value: Decimal) -> str:
    """Format a decimal without exponent or trailing zeros: 1.5, 0.00000012."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def shown(units: int, token: Token) -> str:
    """Format base units as whole tokens, as clients see them."""
    return plain(from_units(units, token))


def price_of(amount_in: int, amount_out: int, token_in: Token, token_out: Token) -> Decimal:
    """Return the realized price: whole tokens out per whole token in, to 12 significant digits."""
    ratio = MATHS.divide(from_units(amount_out, token_out), from_units(amount_in, token_in))
    return PRICE_DIGITS.plus(ratio)


def less_bps(amount: int, bps: int) -> int:
    """Subtract `bps` from an amount, rounded down: against the taker, as the pools round."""
    return amount * (BPS - bps) // BPS


def more_bps(amount: int, bps: int) -> int:
    """Add `bps` to an amount, rounded up: against the taker, as the pools round."""
    return -(-amount * (BPS + bps) // BPS)


def shortfall_bps(expected: int, actual: int) -> Decimal:
    """Return how far `actual` fell short of `expected`, in bps to two places; negative is an improvement."""
    return (Decimal((expected - actual) * BPS) / Decimal(expected)).quantize(Decimal("0.01"))


def excess_bps(expected: int, actual: int) -> Decimal:
    """Return how far `actual` went beyond `expected`, in bps to two places; negative is an improvement."""
    return (Decimal((actual - expected) * BPS) / Decimal(expected)).quantize(Decimal("0.01"))
