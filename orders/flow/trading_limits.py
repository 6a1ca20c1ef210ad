"""Trading limits: what may be traded, by whom, and how much of it.

Each process knows a change at most REMEMBER_S late.  Values are in dollars, by the quotes of that moment; an order
whose value nobody knows is rejected where its value is limited.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal

import structlog
from django.db import DatabaseError

from engine.money import BPS, more_bps, plain, shown
from engine.orders import Order, OrderType
from engine.quotes import CannotFill, NoQuote
from orders.flow.pauses import pauses
from orders.models import LimitKind, LimitScope, TradingLimit
from orders.stores.trading_holds import Use
from orders.telemetry import metrics
from routing import dollars, router
from routing.memory import Memory
from routing.risk_limits import risk_limits
from routing.store import StoreError, now_ms
from routing.venues import VENUES

log = structlog.get_logger(__name__)

FEES_BPS = 100
"""More than a venue takes, for what an exact amount may cost."""

REMEMBER_S = 0.5
VALUES = frozenset({LimitKind.ORDER_VALUE, LimitKind.DAY_VALUE})


class Rejected(Exception):
    """The order is beyond a trading limit, or its account's balance; the message has the numbers.

    `field` of the order has `value`, and `accepted` says what is allowed.
    """

    def __init__(self, code: str, message: str, field: str, value: str, accepted: str) -> None:
        super().__init__(message)
        self.code, self.field, self.value, self.accepted = code, field, value, accepted


@dataclass(frozen=True, slots=True)
class Limit:
    """A trading limit in force; `subject` is the id of its account or API key."""

    id: int
    scope: LimitScope
    name: str
    subject: int | None
    kind: LimitKind
    value: int
    allowed: frozenset[str]

    def covers(self, order: Order, key: int | None) -> bool:
        """Tell whether it is a limit of this order, placed with that API key."""
        match self.scope:
            case LimitScope.USER:
                return order.owner == self.subject
            case LimitScope.KEY:
                return key is not None and key == self.subject
            case LimitScope.PAIR:
                return order.pair.name == self.name
            case LimitScope.TOKEN:
                return self.name in traded(order)
        return True

    @property
    def whose(self) -> str:
        """Return the end of the sentence "the limit of ..."."""
        return "all trading" if self.scope is LimitScope.EVERYTHING else f"{LimitScope(self.scope).label} {self.name}"


def traded(order: Order) -> tuple[str, str]:
    return order.pair.token_in.symbol, order.pair.token_out.symbol


def read() -> tuple[Limit, ...]:
    columns = ("pk", "scope", "name", "subject", "kind", "value", "allowed")
    return tuple(
        Limit(pk, LimitScope(scope), name, subject, LimitKind(kind), value, frozenset(allowed))
        for pk, scope, name, subject, kind, value, allowed in TradingLimit.objects.order_by("pk").values_list(*columns)
    )


trading_limits: Memory[tuple[Limit, ...]] = Memory("trading limits", read, (), (DatabaseError,), REMEMBER_S)
"""The limits, as this process knows them."""


def would_reject(order: Order, key: int | None) -> Rejected | None:
    """Return why an order would be rejected by limits that count nothing, if it would be."""
    covering = {order.id: [limit for limit in trading_limits() if limit.covers(order, key)]}
    return judge([order], covering, values([order], covering)).get(order.id)


def venues(order: Order) -> Set[str]:
    """Return the venues that an order may be traded at."""
    left = frozenset(VENUES)
    for limit in trading_limits():
        if limit.kind is LimitKind.VENUES and limit.covers(order, None):
            left &= limit.allowed
    return left - pauses().closed_to(order)


def beyond_impact(order: Order, impact: Decimal) -> Rejected | None:
    """Return why an order with this price impact, in bps, is beyond a limit, if it is."""
    for limit in trading_limits():
        if limit.kind is LimitKind.IMPACT and impact > limit.value and limit.covers(order, None):
            message = f"a price impact of {plain(impact)} bps is beyond the {limit.value} bps of {limit.whose}"
            sold = f"{shown(order.amount_in, order.pair.token_in)} {order.pair.token_in.symbol}"
            allowed = f"an amount with a price impact of at most {limit.value} bps"
            return Rejected("rejected_impact", message, "amount", sold, allowed)
    return None


def impacts(orders: Sequence[Order], covering: Mapping[str, Sequence[Limit]]) -> dict[str, Rejected]:
    """Return those market orders whose price impact on the last quotes is beyond a limit.

    An order without usable quotes is judged when it is routed, as are those that wait.
    """
    limited = [
        order
        for order in orders
        if order.type is OrderType.MARKET and any(limit.kind is LimitKind.IMPACT for limit in covering[order.id])
    ]
    if not limited:
        return {}
    ages = risk_limits.QUOTE_FRESH_MS, risk_limits.QUOTE_STALE_MS
    try:
        bases = router.from_cache({order.pair.name for order in limited}, now_ms(), *ages)
    except StoreError:
        return {}
    found = {}
    for order in limited:
        if (basis := bases.get(order.pair.name)) and (reason := beyond_now(order, basis)):
            found[order.id] = reason
    return found


def beyond_now(order: Order, basis: router.Basis) -> Rejected | None:
    try:
        usable = router.only(basis, venues(order))
        chosen = router.choose(usable, order.amount_in, order.amount_out)
    except (NoQuote, CannotFill):
        return None
    # A failing venue may have to fill it: that is judged when it is routed.
    return None if usable.spare else beyond_impact(order, chosen.winner.impact_bps(order.pair))


def tell(rejected: Mapping[str, Rejected]) -> None:
    """Log and count orders that were rejected."""
    metrics.rejected(reason.code for reason in rejected.values())
    for order_id, reason in rejected.items():
        log.warning("order rejected", order_id=order_id, code=reason.code, reason=str(reason))


def values(orders: Sequence[Order], covering: Mapping[str, Sequence[Limit]]) -> dict[str, Decimal]:
    """Return the dollars that each order is worth whose value is limited, by id; unknown values are left out."""
    asked = [order for order in orders if any(limit.kind in VALUES for limit in covering[order.id])]
    if not asked:
        return {}
    sold = {order.pair.token_in.symbol for order in asked}
    known = dollars.prices(sold | {order.pair.token_out.symbol for order in asked if order.amount_out is not None})
    return {order.id: value(order, known) for order in asked if order.pair.token_in.symbol in known}


def value(order: Order, known: Mapping[str, Decimal]) -> Decimal:
    """Return the dollars that an order may spend.

    One that buys an exact amount spends what that is worth, its slippage and the price impact that the engine allows,
    and never more than its own maximum: whoever states a large one uses up no more of a limit.
    """
    sold, bought = order.pair.token_in, order.pair.token_out
    most = dollars.worth(order.amount_in, sold, known[sold.symbol])
    kept = BPS - min(BPS - 1, risk_limits.ORDER_MAX_IMPACT_BPS + FEES_BPS)
    if order.amount_out is None or bought.symbol not in known:
        return most
    taken = more_bps(-(-order.amount_out * BPS // kept), order.slippage_bps)
    return min(most, dollars.worth(taken, bought, known[bought.symbol]))


def judge(
    orders: Sequence[Order], covering: Mapping[str, Sequence[Limit]], worth: Mapping[str, Decimal]
) -> dict[str, Rejected]:
    """Return those orders that are beyond a limit whatever else is traded."""
    found = {}
    for order in orders:
        reasons = (beyond(order, limit, worth.get(order.id)) for limit in covering[order.id])
        if reason := next(filter(None, reasons), None):
            found[order.id] = reason
    return found


def beyond(order: Order, limit: Limit, worth: Decimal | None) -> Rejected | None:
    """Return why one order is beyond one limit, if it is."""
    symbol = order.pair.token_in.symbol
    if limit.kind in VALUES and worth is None:
        message = f"no venue quotes {symbol} in dollars now, and the value of orders is limited"
        return Rejected("rejected_value_unknown", message, "tokenIn", symbol, "a token with a price in USDC")
    if limit.kind is LimitKind.ORDER_VALUE and worth is not None and worth > limit.value:
        message = f"the order is worth {usd(worth)}; one order of {limit.whose} may be worth {usd(limit.value)}"
        sold = f"{shown(order.amount_in, order.pair.token_in)} {symbol}"
        return Rejected("rejected_order_value", message, "amount", sold, f"at most {usd(limit.value)}")
    if limit.kind is LimitKind.SLIPPAGE and order.slippage_bps > limit.value:
        message = f"a slippage of {order.slippage_bps} bps is beyond the {limit.value} bps of {limit.whose}"
        return Rejected(
            "rejected_slippage", message, "slippageBps", str(order.slippage_bps), f"at most {limit.value} bps"
        )
    if limit.kind is LimitKind.TOKENS and (others := [one for one in traded(order) if one not in limit.allowed]):
        message = f"{others[0]} is not one of the tokens of {limit.whose}"
        field = "tokenIn" if others[0] == symbol else "tokenOut"
        return Rejected("rejected_token", message, field, others[0], " or ".join(sorted(limit.allowed)))
    return None


def beyond_day(limit: Limit, use: Use, new: Decimal, before: Decimal = Decimal(0)) -> Rejected:
    left = usd(max(Decimal(0), use.value - use.used + before))
    message = (
        f"the order is worth {usd(new)}, and of the {usd(use.value)} that {limit.whose} may trade on {use.day} (UTC) "
        f"{left} are left"
    )
    return Rejected("rejected_day_value", message, "amount", usd(new), f"at most {left} today")


def usd(value: Decimal | int) -> str:
    return f"{value:,.2f} USD"
