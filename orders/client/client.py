"""The client: HTTP to place, look at and change orders, WebSockets to follow them; it resumes by itself."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx

from . import all_orders, calls, sockets
from .all_orders import Reached
from .answers import CancelledAll, Candles, Estimate, Events, Level, Market, Order, Page, Pair, Pairs, Placed, events_of
from .asked import KEEP, Keep, NewOrder, Number, Time, body, changes, written
from .backoff import Backoff
from .cursor import Cursor
from .deadline import Deadline
from .errors import AnswerLost, Refused, Unreachable
from .events import Message
from .holdings import Balance, Balances, Position, Positions
from .key import Key
from .reading import read
from .words import OrderType

PATIENCE_S = 30.0
CANCEL_ALL_TIMEOUT_S = 60.0
PAGE_MAX = 200

Which = str | UUID | Placed | Order
"""An order, by its id or as the engine described it."""


class Client:
    """A connection to the engine at `url`, within `async with`.

    `api_key` is sent to that address only; without one the environment's ENGINE_API_KEY is, if there is one.
    `patience_s` is for how long an order is sent again to an engine that does not answer; 0 for a single try.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        patience_s: float = PATIENCE_S,
        backoff: Backoff | None = None,
    ) -> None:
        self._key = Key(url, api_key)
        self.url, self.patience_s, self.backoff = url.rstrip("/"), patience_s, backoff or Backoff()
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        """Be ready to connect."""
        try:
            self._http = calls.connection(self.url, self._key.headers(self.url))
        except httpx.InvalidURL as reason:
            raise Unreachable(str(reason)) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, reason: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        if self._http:
            await self._http.aclose()
            self._http = None

    async def execute(
        self, order: NewOrder, *, within_s: float | None = None, away: sockets.Told = lambda trouble: None
    ) -> AsyncGenerator[Message, None]:
        """Place an order and yield its events until the final one, like `place` and `follow`."""
        deadline = Deadline.within(within_s)
        placed = await self._placed(order, Deadline(deadline.by(self.patience_s)))
        async with aclosing(self.follow(placed, within_s=deadline.left_s, away=away)) as events:
            async for event in events:
                yield event

    async def place(self, order: NewOrder) -> Placed:
        """Place an order, once however often it had to be sent: without a `client_order_id` it is given one.

        Raises Refused, Unreadable; Unreachable or AnswerLost once patience is at an end.
        """
        return await self._placed(order, Deadline.within(self.patience_s))

    async def _placed(self, order: NewOrder, until: Deadline) -> Placed:
        """Place an order, trying again until then."""
        asked, misses = body(order if order.client_order_id else replace(order, client_order_id=str(uuid4()))), 0
        while True:
            try:
                return read(Placed, await self._ask("POST", "/api/orders/execute", json=asked))
            except (Unreachable, AnswerLost, Refused) as reason:
                misses += 1
                if until.over or (isinstance(reason, Refused) and not reason.passes):
                    raise
            await until.rest(self.backoff.wait_s(misses))

    async def follow(
        self,
        order: Which,
        *,
        after: int = 0,
        epoch: int = 0,
        within_s: float | None = None,
        away: sockets.Told = lambda trouble: None,
    ) -> AsyncGenerator[Message, None]:
        """Yield each event past `after`, once and in order, until the final one, over any number of connections.

        A Rewound takes back the events past its `to` that were yielded here or before; others follow in their place.
        Whoever goes on from an earlier call gives the `epoch` of the event `after` too: without it the engine takes
        back all that may have been replaced.

        `away` is told, once, when the engine stays away.  Raises Refused, Unreadable; NothingFurther when the order
        ended before `after`; Unfinished when it is not final within `within_s`.
        """
        line = sockets.Line(self._key, self.backoff, Deadline.within(within_s), away)
        async with aclosing(sockets.follow(self._events_past(order), Cursor(after, epoch), line)) as messages:
            async for message in messages:
                yield message

    async def follow_all(
        self, after: str | None = None, *, within_s: float | None = None, away: sockets.Told = lambda trouble: None
    ) -> AsyncGenerator[Message | Reached, None]:
        """Yield each event of every order of the key's account, in sequence, over any number of connections.

        A Reached has the cursor to go on with as `after` in a later call, "0" stands for all events that are kept; an
        order that was under way at that moment may then be yielded from its first event again.  Without it the stream
        begins now.  A Rewound takes back an order's events past its `to`.

        `away` is told, once, when the engine stays away.  Raises Refused, Unreadable; Unfinished after `within_s`.
        """
        line = sockets.Line(self._key, self.backoff, Deadline.within(within_s), away)
        async with aclosing(all_orders.follow_all(self._socket("/ws/orders"), after, line)) as messages:
            async for message in messages:
                yield message

    def _events_past(self, order: Which) -> Callable[[Cursor], str]:
        """Make the address of an order's events past a cursor."""
        address = order.links.ws if isinstance(order, Placed | Order) else self._socket(f"/ws/{segment(order)}")
        return lambda cursor: str(httpx.URL(address).copy_merge_params(cursor.query))

    def _socket(self, path: str) -> str:
        """Return the address of a socket."""
        return f"ws{self.url.removeprefix('http')}{path}"

    async def order_named(self, client_order_id: str) -> Order:
        """Return the order that was placed under this client order id."""
        return read(Order, await self._ask("GET", f"/api/orders/by-client-id/{quote(client_order_id, safe='')}"))

    async def order(self, order: Which) -> Order:
        """Return an order as it stands this moment."""
        return read(Order, await self._ask("GET", f"/api/orders/{segment(order)}"))

    async def events(self, order: Which, *, after: int = 0, epoch: int = 0) -> Events:
        """Return what has happened to an order past `after`; `epoch` is that of the event `after`, as in `follow`.

        `rewound_to` in the answer takes back the events past it; `onto` does that with those you hold.
        """
        params = Cursor(after, epoch).query
        return events_of(await self._ask("GET", f"/api/orders/{segment(order)}/events", params=params))

    async def orders(
        self,
        *,
        status: str | Sequence[str] = (),
        type: str | None = None,
        pair: str | None = None,
        created_after: Time | None = None,
        created_before: Time | None = None,
    ) -> AsyncGenerator[Order, None]:
        """Yield orders, newest first, over as many pages as there are."""
        times = {"createdAfter": created_after, "createdBefore": created_before}
        asked = {"status": status or None, "type": type, "pair": pair, "limit": PAGE_MAX, **times}
        page = await self.page({name: written(value) for name, value in asked.items() if value is not None})
        while True:
            for order in page.results:
                yield order
            if page.next is None:
                return
            page = await self.page(httpx.URL(page.next).params)

    async def page(self, asked: Mapping[str, Any]) -> Page:
        """Return one page of orders; `asked` by the API's names, `cursor` among them."""
        return read(Page, await self._ask("GET", "/api/orders", params=asked))

    async def cancel(self, order: Which) -> Order:
        """Cancel an order that rests; refused with `not_resting` when it rests no longer."""
        return read(Order, await self._ask("DELETE", f"/api/orders/{segment(order)}"))

    async def cancel_all(self, pair: str, type: OrderType | str | None = None) -> CancelledAll:
        """Cancel all that rest of a pair, `"*"` for every pair, or those of one type."""
        asked = {"pair": pair, **({"type": str(type)} if type else {})}
        return read(CancelledAll, await self._ask("DELETE", "/api/orders", params=asked, timeout=CANCEL_ALL_TIMEOUT_S))

    async def amend(
        self,
        order: Which,
        seq: int | None = None,
        *,
        limit_price: Number | Keep = KEEP,
        amount: Number | Keep = KEEP,
        expires_at: Time | Keep | None = KEEP,
        max_price: Number | Keep | None = KEEP,
    ) -> Order:
        """Change an order that rests and whose last event is still `seq`, else refused with `changed`.

        Of an `Order` it is the seq it was read with, unless another is given; of anything else it must be given.
        """
        known = order.seq if seq is None and isinstance(order, Order) else seq
        if known is None:
            raise TypeError("amend needs the seq of the order's last event, or the Order it was read as")
        asked = changes(limit_price=limit_price, amount=amount, expires_at=expires_at, max_price=max_price)
        headers = {"If-Match": f'"{known}"'}
        return read(Order, await self._ask("PATCH", f"/api/orders/{segment(order)}", json=asked, headers=headers))

    async def estimate(self, order: NewOrder) -> Estimate:
        """Return what an order would get, were it placed now."""
        return read(Estimate, await self._ask("POST", "/api/orders/estimate", json=body(order)))

    async def pairs(self) -> tuple[Pair, ...]:
        """Return what is traded."""
        return read(Pairs, await self._ask("GET", "/api/pairs")).results

    async def balances(self, owner: str | None = None) -> tuple[Balance, ...]:
        """Return what your account has of each token; with the scope `admin`, another user's by name."""
        params = {"owner": owner} if owner else {}
        return read(Balances, await self._ask("GET", "/api/balances", params=params)).results

    async def positions(self, owner: str | None = None) -> tuple[Position, ...]:
        """Return what your account's fills have come to in each market; with the scope `admin`, another user's."""
        params = {"owner": owner} if owner else {}
        return read(Positions, await self._ask("GET", "/api/positions", params=params)).results

    async def candles(
        self, pair: str, interval: str = "1m", *, venue: str = "BEST", since: Time | None = None, to: Time | None = None
    ) -> Candles:
        """Return the recorded prices of a pair, of intervals of 1s or 1m; without times those of the last hour."""
        times = {"from": since, "to": to}
        given = {name: written(value) for name, value in times.items() if value is not None}
        asked = {"interval": interval, "venue": venue, **given}
        return read(Candles, await self._ask("GET", f"/api/candles/{quote(pair, safe='')}", params=asked))

    async def quotes(
        self, pair: str, *, within_s: float | None = None, away: sockets.Told = lambda trouble: None
    ) -> AsyncGenerator[Market, None]:
        """Yield a pair's market whenever it has changed; `fills` are those since the last, at first the latest.

        Raises Refused, Unreadable; Unfinished once `within_s` is over.
        """
        line = sockets.Line(self._key, self.backoff, Deadline.within(within_s), away)
        levels: tuple[Level, ...] = ()
        async with aclosing(sockets.stay(self._socket(f"/ws/quotes/{quote(pair, safe='')}"), line)) as messages:
            async for message in messages:
                market = read(Market, message)
                levels = market.levels if "levels" in message else levels
                yield replace(market, levels=levels)

    async def _ask(self, method: str, path: str, **more: Any) -> Any:
        """Send one request.

        Raises Refused, Unreachable, AnswerLost, Unreadable.
        """
        if self._http is None:
            raise RuntimeError("use the client within `async with Client(...) as client`")
        return await calls.ask(self._http, method, path, **more)


def segment(order: Which) -> str:
    """Return an order's id as part of an address."""
    return quote(order.order_id if isinstance(order, Placed | Order) else str(order), safe="")
