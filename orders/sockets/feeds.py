"""WebSocket consumers of the trading desk: one pair's market, and many orders' events on one socket."""

import asyncio
from contextlib import aclosing, suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

from django.db import DatabaseError

from engine.cursor import Cursor
from engine.events import moment
from engine.money import BPS, MATHS, plain
from engine.quotes import Pair, Quote
from orders.access.limits import TooManyFollows
from orders.api.cursors import resumable
from orders.api.errors import Field, Invalid, answer, body, shown
from orders.api.parsers import loads
from orders.flow.pauses import pauses
from orders.models import Scope
from orders.sockets.all_orders import Stream
from orders.sockets.asking import ALL, AskedForAll, asked_for
from orders.sockets.closing import BAD_REQUEST, UNKNOWN
from orders.sockets.consumers import EventStream
from orders.sockets.doorkeeper import doorkeeper
from orders.sockets.messages import FAILING
from orders.sockets.tail import UnknownOrder, tail
from orders.sockets.ticker import View, ticker
from orders.stores import event_codec
from orders.stores.threads import aside
from routing.catalogue import catalogue
from routing.quotes import Cached
from routing.risk_limits import risk_limits
from routing.store import now_ms
from routing.venues import VENUES

Json = dict[str, Any]

FOLLOW_MAX = 1_000
"""Maximum number of orders one socket follows at a time."""
BAD_MAX = 20
"""Bad messages in a row, each answered, that close a socket."""


class QuoteFeed(EventStream):
    """`/ws/quotes/{pair}`: a snapshot of a pair, then its changes, at the client's own pace."""

    async def begin(self) -> None:
        self.start(self.show(self.scope["url_route"]["kwargs"]["pair"]))

    async def show(self, name: str) -> None:
        """Send the pair and its changes until the client leaves."""
        try:
            pair = (await aside(catalogue)).pairs.get(name)
            if pair is None:
                message = f"there is no pair {shown(name)}; GET /api/pairs lists them"
                await self.refuse(UNKNOWN, body("not_found", message))
                return
            await self.show_pair(pair)
        except Exception as reason:
            await self.break_off(reason)

    async def show_pair(self, pair: Pair) -> None:
        """Send a snapshot, then the differences from the last view sent, however many views were skipped in between."""
        before: View | None = None
        async with aclosing(ticker().follow(pair)) as views:
            async for shared in views:
                view = self.with_own_stops(shared)
                news = changes(before, view, now_ms()) if before else snapshot(pair, view, now_ms())
                await self.send(text_data=event_codec.dump(news))
                before = view

    def with_own_stops(self, view: View) -> View:
        """Add what stops the caller alone; the ticker has just read the pauses."""
        assert self.caller
        return replace(view, stops=(*view.stops, *pauses.reading.own(self.caller.owner, self.caller.key)))


def snapshot(pair: Pair, view: View, now: int) -> Json:
    """Return everything known about a pair at this moment."""
    return {
        "kind": "snapshot",
        "pair": pair.name,
        "tokenIn": pair.token_in.symbol,
        "tokenOut": pair.token_out.symbol,
        "tick": plain(pair.tick),
        "venues": list(VENUES),
        **prices(view.cached, now),
        "levels": levels(view),
        "fills": list(view.fills),
        "stops": stops(view),
    }


def changes(before: View, after: View, now: int) -> Json:
    """Return the prices, of which at least the ages have changed, and whatever else is new."""
    news: Json = {"kind": "update", **prices(after.cached, now)}
    if after.levels != before.levels:
        news["levels"] = levels(after)
    if fills := [fill for fill in after.fills if fill not in before.fills]:
        news["fills"] = fills
    if (stopped := stops(after)) != stops(before):
        news["stops"] = stopped
    return news


def prices(cached: Cached, now: int) -> Json:
    """Return the venues' quotes, BEST, the spread between venues, and the age limits for quotes."""
    return {
        "at": moment(now),
        "freshMs": risk_limits.QUOTE_FRESH_MS,
        "staleMs": risk_limits.QUOTE_STALE_MS,
        "quotes": [quote_json(quote, now) for quote in cached.quotes],
        "best": quote_json(cached.best, now) if cached.best else None,
        "spreadBps": spread_bps(cached),
    }


def quote_json(quote: Quote, now: int) -> Json:
    return {
        "venue": quote.venue,
        "price": plain(quote.price),
        "feeBps": quote.fee_bps,
        "netPrice": plain(quote.net_price),
        "ageMs": quote.age(now),
    }


def spread_bps(cached: Cached) -> str | None:
    """Return how far the highest price net of fee is above the lowest, in bps; None with fewer than two venues."""
    known = sorted(quote.net_price for quote in cached.quotes if quote.price > 0)
    if len(known) < 2:
        return None
    apart = MATHS.multiply(MATHS.divide(known[-1], known[0]) - 1, Decimal(BPS))
    return plain(apart.quantize(Decimal("0.1")))


def levels(view: View) -> list[Json]:
    """Return the prices at which orders rest, nearest first."""
    return [{"price": price, "orders": count} for price, count in view.levels]


def stops(view: View) -> list[Json]:
    """Return what is paused, halted or failing, with the sentence that clients read."""
    stopped = [
        {
            "scope": one.scope,
            "name": one.name,
            "state": one.state,
            "message": str(one),
            "reason": one.reason,
            "since": moment(one.since),
        }
        for one in view.stops
    ]
    failing = [
        {"scope": Scope.VENUE, "name": venue, "state": FAILING, "message": said}
        for venue, said in view.cached.left_out.items()
    ]
    return [*stopped, *failing]


class OrdersFeed(EventStream):
    """`/ws/orders`: the events of all orders the client names, each once and in order, until it unfollows them.

    A message `{"follow": [{"orderId", "after", "epoch"}], "unfollow": [id]}` is answered with the number of orders now
    followed, so a message with empty lists works as a ping.  `{"follow": "all", "after": cursor}` adds every order of
    the caller: see orders/sockets/all_orders.py.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.follows: dict[str, asyncio.Task[None]] = {}
        self.leaving = False
        self.bad = 0

    async def hear(self, text: str | bytes) -> None:
        """Follow and unfollow what the client names."""
        try:
            asked = asked_for(loads(text))
            if isinstance(asked, AskedForAll):
                await self.hear_of_all(asked)
                return
            if len(self.follows.keys() - {ALL, *asked.unfollow} | asked.follow.keys()) > FOLLOW_MAX:
                raise Invalid(f"one socket follows at most {FOLLOW_MAX} orders at a time; open another")
            doorkeeper().let_follow(self, len(self.follows.keys() - set(asked.unfollow) | asked.follow.keys()))
        except (Invalid, TooManyFollows) as reason:
            await self.object(answer(reason)[1])
            return
        self.bad = 0
        for order_id in asked.unfollow:
            self.drop(order_id)
        for order_id, after in asked.follow.items():
            self.drop(order_id)
            self.follows[order_id] = asyncio.create_task(self.relay(order_id, after))
        await self.count()

    async def hear_of_all(self, asked: AskedForAll) -> None:
        """Follow every order of the caller, or no longer.

        Raises Invalid, TooManyFollows.
        """
        if not asked.follow:
            self.drop(ALL)
            await self.count()
            return
        assert self.caller
        doorkeeper().let_follow(self, len(self.follows.keys() | {ALL}))
        try:
            after = await aside(resumable, asked.after)
        except DatabaseError as reason:
            await self.leave_once(reason)
            return
        self.drop(ALL)
        await self.count()
        self.follows[ALL] = asyncio.create_task(self.relay_all(Stream(self.caller.owner, after)))

    async def relay_all(self, stream: Stream) -> None:
        """Send every event of every order of the caller."""
        try:
            async with aclosing(stream.follow()) as messages:
                async for message in messages:
                    await self.send(text_data=message)
        except Exception as reason:
            await self.leave_once(reason)

    async def count(self) -> None:
        """Say how many orders are followed by name."""
        with suppress(OSError, RuntimeError):
            await self.send(text_data=event_codec.dump({"following": len(self.follows.keys() - {ALL})}))

    async def object(self, error: Json) -> None:
        """Answer a bad message, which changes nothing; close the socket of a client that sends no other."""
        self.bad += 1
        if self.bad >= BAD_MAX:
            await self.refuse(BAD_REQUEST, error)
            return
        with suppress(OSError, RuntimeError):
            await self.send(text_data=event_codec.dump(error))

    async def relay(self, order_id: str, after: Cursor) -> None:
        """Send an order's events past `after`, until its last."""
        try:
            async with aclosing(tail().follow(order_id, self.sees, after)) as events:
                async for event in events:
                    await self.send(text_data=event)
            del self.follows[order_id]
        except UnknownOrder:
            del self.follows[order_id]
            await self.say_unknown(order_id)
        except Exception as reason:
            await self.leave_once(reason)

    async def say_unknown(self, order_id: str) -> None:
        """Report an order that does not exist; the others continue."""
        message = f"there is no order {order_id}"
        wrong = Field("orderId", order_id, "is not the id of an order", "the orderId of an accepted order")
        with suppress(OSError, RuntimeError):
            await self.send(text_data=event_codec.dump(body("not_found", message, [wrong])))

    async def leave_once(self, reason: Exception) -> None:
        """Close the socket, once: a failure of one order's events hits the others' at the same moment."""
        if not self.leaving:
            self.leaving = True
            await self.break_off(reason)

    @property
    def following(self) -> int:
        """Return how many orders it follows, with one for all orders."""
        return len(self.follows)

    def drop(self, order_id: str) -> None:
        """Stop following an order."""
        if task := self.follows.pop(order_id, None):
            task.cancel()

    def stop(self) -> None:
        """Stop following all orders, and waiting for a ticket."""
        super().stop()
        for order_id in list(self.follows):
            self.drop(order_id)
