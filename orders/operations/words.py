"""How the admin and the terminal write amounts and ages."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from engine.money import Token, shown
from engine.quotes import Pair
from orders.models import Order
from routing.catalogue import UnknownPair, catalogue

NOTHING = "-"
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def sold(units: Any, pair: str) -> str:
    """Format base units of the pair's first token as whole tokens."""
    return whole(units, pair, lambda known: known.token_in)


def bought(units: Any, pair: str) -> str:
    """Format base units of the pair's second token as whole tokens."""
    return whole(units, pair, lambda known: known.token_out)


def asked(order: Order) -> str:
    """Say what an order sells, in whole tokens: its amount, or at most that for what it buys exactly."""
    amount = sold(order.amount_in, order.pair)
    return amount if order.amount_out is None else f"up to {amount} for exactly {bought(order.amount_out, order.pair)}"


def whole(units: Any, pair: str, side: Callable[[Pair], Token]) -> str:
    """Format base units as whole tokens, or as base units if the pair is no longer in the catalogue."""
    if units is None:
        return NOTHING
    try:
        token = side(catalogue().pair(pair))
    except UnknownPair:
        return f"{units} base units"
    return f"{shown(int(units), token)} {token.symbol}"


def age(since: datetime, now: datetime) -> str:
    """Write how long ago something was, in its largest unit: 3 h."""
    seconds = max(0, int((now - since).total_seconds()))
    return next((f"{seconds // size} {unit}" for size, unit in UNITS if seconds >= size), "0 s")
