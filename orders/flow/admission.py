"""Admit orders under the trading limits: before they are accepted, and again before their transaction is signed.

Daily limits are counted in Postgres, in the transaction that commits the orders' rows (orders/stores/trading_holds.py),
and given back when an order ends without a fill.  An order that is sent on a later day counts on that day, too.
Lowering a limit takes nothing back from what was counted today: a halt stops that.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence, Set
from decimal import Decimal
from typing import TypeVar

from django.db import transaction

from engine.money import plain
from engine.orders import Order
from orders.flow import balances
from orders.flow.pauses import Paused, pauses
from orders.flow.trading_limits import Limit, Rejected, beyond_day, impacts, judge, tell, trading_limits, values
from orders.models import LimitKind, LimitScope
from orders.stores import trading_holds
from orders.stores.ids import first_at
from orders.stores.trading_holds import Hold, Use
from routing.store import now_ms

T = TypeVar("T")

DAY_MS = 86_400_000
COUNTED = frozenset({LimitKind.DAY_VALUE, LimitKind.REPEAT})
"""Kinds under which orders are admitted one group after the other."""


def admit(
    asked: Sequence[tuple[Order, int | None]], insert: Callable[[Container[str]], dict[str, T]]
) -> tuple[dict[str, T], dict[str, Rejected]]:
    """Have those of these orders inserted that are within the limits; return what `insert` returns, and the others.

    Each order comes with the id of its API key.  `insert` is given the ids it must leave out, and returns what it has
    inserted by id.  Raises DatabaseError.
    """
    limits = trading_limits()
    if not limits:
        return insert(()), {}
    covering = {order.id: [limit for limit in limits if limit.covers(order, key)] for order, key in asked}
    orders = [order for order, _ in asked]
    worth = values(orders, covering)
    rejected = impacts(orders, covering) | judge(orders, covering, worth)
    counting = {i: [limit for limit in those if limit.kind in COUNTED] for i, those in covering.items()}
    if any(counting[order.id] for order in orders if order.id not in rejected):
        with transaction.atomic():
            uses = trading_holds.lock(ids_of(counting))
            rejected |= repeats([order for order in orders if order.id not in rejected], counting)
            more, holds = count([order for order in orders if order.id not in rejected], counting, uses, worth)
            rejected |= more
            inserted = insert(rejected)
            trading_holds.book([hold for hold in holds if hold.order_id in inserted])
    else:
        inserted = insert(rejected)
    tell(rejected)
    return inserted, rejected


def recheck(orders: Sequence[Order]) -> dict[str, Rejected]:
    """Return those accepted orders that are beyond a limit now; the others are counted today, if they were not yet.

    Limits of API keys are checked only when an order is placed or amended.
    """
    limits = trading_limits()
    if not limits:
        return {}
    covering = {order.id: [limit for limit in limits if limit.covers(order, None)] for order in orders}
    worth = values(orders, covering)
    rejected = judge(orders, covering, worth)
    daily = {i: [limit for limit in those if limit.kind is LimitKind.DAY_VALUE] for i, those in covering.items()}
    if any(daily.values()):
        have = trading_holds.counted([order.id for order in orders], ids_of(daily))
        lacking = {i: [limit for limit in those if (i, limit.id) not in have] for i, those in daily.items()}
        going = [order for order in orders if order.id not in rejected and lacking[order.id]]
        if going:
            with transaction.atomic():
                # This worker may have been frozen: what has ended meanwhile has given its part back.
                there = trading_holds.unfinished([order.id for order in going])
                uses = trading_holds.lock(ids_of(lacking))
                more, holds = count([order for order in going if order.id in there], lacking, uses, worth)
                trading_holds.book(holds)
            rejected |= more
    tell(rejected)
    return rejected


def amended(order: Order, keys: Set[int] = frozenset()) -> None:
    """Count an order's new terms; whether its balance covers them is decided when they are committed.

    `keys` are the API keys that placed and that amend it: their stops and limits hold as for a new order.  Raises
    Paused, Rejected, DatabaseError.
    """
    if stop := pauses().stopping(order.pair, keys):
        raise Paused(stop, order.pair)
    if short := balances.amended(order):
        raise short
    limits = [limit for limit in trading_limits() if any(limit.covers(order, key) for key in keys or (None,))]
    worth = values([order], {order.id: limits})
    for reason in judge([order], {order.id: limits}, worth).values():
        raise reason
    daily = {limit.id: limit for limit in limits if limit.kind is LimitKind.DAY_VALUE}
    if not daily:
        return
    new = worth[order.id]
    with transaction.atomic():
        uses = trading_holds.lock(daily)
        have = trading_holds.counted([order.id], daily)
        # A key that amends what another placed has counted nothing of it, and nothing else will.
        anew = [
            limit.id for limit in daily.values() if limit.scope is LimitScope.KEY and (order.id, limit.id) not in have
        ]
        parts = [*have.values(), *(Hold(order.id, i, uses[i].day, Decimal(0)) for i in anew if i in uses)]
        more = [hold for hold in parts if hold.value < new]
        for hold in more:
            use = uses[hold.limit]
            if use.used - hold.value + new > use.value:
                raise beyond_day(daily[hold.limit], use, new, hold.value)
        trading_holds.book([Hold(order.id, hold.limit, hold.day, new) for hold in more])


def ids_of(limits: Mapping[str, Iterable[Limit]]) -> set[int]:
    return {limit.id for those in limits.values() for limit in those}


def repeats(orders: Sequence[Order], counting: Mapping[str, Sequence[Limit]]) -> dict[str, Rejected]:
    """Return those orders that their account has placed alike too short a time ago, or earlier in this group."""
    asked, found, seen = {}, {}, set()
    for order in orders:
        longest = max((one for one in counting[order.id] if one.kind is LimitKind.REPEAT), key=by_value, default=None)
        if longest is None:
            continue
        terms = (order.amount_out, order.limit_price, order.max_price, order.trigger)
        alike = (order.owner, order.type, order.pair.name, order.amount_in, terms)
        if alike in seen:
            found[order.id] = repeated(longest)
        seen.add(alike)
        asked[order.id] = (
            longest,
            {
                "id": order.id,
                "since": str(first_at(now_ms() - DAY_MS - 1000 * longest.value)),
                "within_s": longest.value,
                "owner": order.owner,
                "type": order.type,
                "pair": order.pair.name,
                "amount_in": order.amount_in,
                "amount_out": order.amount_out,
                "limit_price": order.limit_price and plain(order.limit_price),
                "max_price": order.max_price and plain(order.max_price),
                "trigger": [condition.as_dict() for condition in order.trigger],
            },
        )
    there = trading_holds.repeated([row for _, row in asked.values()]) if asked else ()
    return found | {order_id: repeated(asked[order_id][0]) for order_id in there}


def by_value(limit: Limit) -> int:
    return limit.value


def repeated(limit: Limit) -> Rejected:
    message = f"the same order was placed within {limit.value} s, the time that {limit.whose} must let pass"
    return Rejected("rejected_repeat", message, "amount", "as before", "another order, or the same one later")


def count(
    orders: Sequence[Order],
    counting: Mapping[str, Sequence[Limit]],
    uses: Mapping[int, Use],
    worth: Mapping[str, Decimal],
) -> tuple[dict[str, Rejected], list[Hold]]:
    """Share out what is left of daily limits, first come, first served; return those left without, and the parts."""
    rejected, holds = {}, []
    for order in orders:
        limits = [limit for limit in counting[order.id] if limit.kind is LimitKind.DAY_VALUE]
        # One that was deleted meanwhile has no row.
        daily = [(limit, uses[limit.id]) for limit in limits if limit.id in uses]
        new = worth.get(order.id, Decimal(0))
        full = next((pair for pair in daily if pair[1].used + new > pair[1].value), None)
        if full:
            rejected[order.id] = beyond_day(*full, new)
            continue
        for limit, use in daily:
            use.used += new
            holds.append(Hold(order.id, limit.id, use.day, new))
    return rejected, holds
