"""Stopping trading in tests, and orders that stops tell apart."""

from dataclasses import replace
from decimal import Decimal

from engine.orders import Order, OrderType
from engine.quotes import Pair
from orders.flow import pauses
from orders.flow.intake import NewOrder
from orders.models import PauseState
from orders.stores.ids import new_id
from tests.orders import bench as benches
from tests.orders.bench import TOKENS

WHY = "the bot runs wild"
BUY = Pair(TOKENS["USDC"], TOKENS["SOL"], Decimal("0.0000001"))


def stop(scope, name, state=PauseState.HALTED, **more):
    return pauses.pause(scope, name, WHY, "ops", state, **more)


def of(asked, owner):
    return replace(asked, order=replace(asked.order, id=new_id(), owner=owner.pk))


def buying(kind=OrderType.MARKET, **more):
    """Make an order that buys SOL for 5 USDC; of the kinds that wait, a limit order that any price reaches."""
    price = Decimal("0.0000001") if kind is OrderType.LIMIT else None
    return NewOrder(Order(new_id(), kind, BUY, 5_000_000, 50, limit_price=price, owner=benches.OWNER, **more))
