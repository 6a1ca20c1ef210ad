"""What orders are placed for: pairs in turn, amounts that differ, and limit prices beside BEST."""

from argparse import Namespace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import cache

AMOUNTS = {"SOL": "1.5", "USDC": "200", "USDT": "200", "JUP": "250", "RAY": "80", "BONK": "9000000", "WIF": "100"}
"""About 200 dollars' worth."""
STEP = Decimal("0.001")
STEPS = 1_000
BPS = 10_000
UP, DOWN = Context(prec=40, rounding=ROUND_CEILING), Context(prec=40, rounding=ROUND_FLOOR)


def pair_of(options: Namespace, number: int) -> tuple[str, str]:
    """Return the tokens of the order with this number: all pairs in turn."""
    pairs = pairs_in(options.pairs)
    return pairs[number % len(pairs)]


@cache
def pairs_in(text: str) -> tuple[tuple[str, str], ...]:
    """Read a list of pairs."""
    return tuple((sold, bought) for sold, _, bought in (name.strip().partition("-") for name in text.split(",")))


def amount_of(token: str, number: int) -> str:
    """Return how much to sell; neighbours differ, so that one order's fill is not taken for another's."""
    return str(Decimal(AMOUNTS.get(token, "1")) * (1 + STEP * (number % STEPS)))


def beside(price: Decimal, bps: int, tick: Decimal) -> Decimal:
    """Return the price on the tick that is at least so many bps above `price`, or below it when negative."""
    exact = price * (BPS + bps) / BPS
    context = UP if bps > 0 else DOWN
    return max(tick, context.quantize(context.divide(exact, tick), Decimal(1)) * tick)
