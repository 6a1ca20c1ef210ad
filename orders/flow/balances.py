"""Balances: an order is accepted only if its account has what it sells, besides what its open orders reserve.

The statement that commits the order reserves it, exactly, whatever races: see orders/stores/balances.py.  What is read
here says only who gets how much of what is left, and why.
"""

from collections.abc import Sequence
from dataclasses import replace

from django.conf import settings

from engine.money import shown
from engine.orders import Order
from orders.flow.trading_limits import Rejected
from orders.stores import balances
from orders.stores.balances import Balance


def short_of(orders: Sequence[Order]) -> dict[str, Rejected]:
    """Return those of these orders, first come first served, that their accounts' balances do not cover."""
    if not settings.ENGINE_BALANCES:
        return {}
    sold: dict[int, set[str]] = {}
    for order in orders:
        if order.owner is not None:
            sold.setdefault(order.owner, set()).add(order.pair.token_in.symbol)
    left = {owner: balances.of(owner, sorted(tokens)) for owner, tokens in sold.items()}
    rejected = {}
    for order in orders:
        if order.owner is None:
            continue
        known, symbol = left[order.owner], order.pair.token_in.symbol
        if order.amount_in > known[symbol].available:
            rejected[order.id] = insufficient(order, known[symbol])
        else:
            known[symbol] = replace(known[symbol], reserved=known[symbol].reserved + order.amount_in)
    return rejected


def amended(order: Order) -> Rejected | None:
    """Return why an order may not have its new amount, if so."""
    before = balances.reserved_by(order.id)
    if before is None or order.owner is None or order.amount_in <= before:
        return None
    symbol = order.pair.token_in.symbol
    known = balances.of(order.owner, [symbol])[symbol]
    others = replace(known, reserved=known.reserved - before)
    return insufficient(order, others) if order.amount_in > others.available else None


def insufficient(order: Order, known: Balance) -> Rejected:
    """Say that an order sells more than is available."""
    token = order.pair.token_in
    needs, available, total, reserved = (
        f"{shown(units, token)} {token.symbol}"
        for units in (order.amount_in, known.available, known.total, known.reserved)
    )
    message = f"the order needs {needs}; {available} of {total} are available, {reserved} are reserved by open orders"
    return Rejected("insufficient_balance", message, "amount", needs, f"at most {available}")
