"""Orders from their first POST to whatever their client does with them."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.chaos.clients import socket
from tests.chaos.clients.feed import Feed
from tests.chaos.clients.http import UNANSWERED, Http
from tests.chaos.clients.journal import Journal
from tests.chaos.clients.market import Market
from tests.chaos.clients.story import Story
from tests.chaos.plan.orders import PAIR_CANCELLED, Deed, Planned

AGAIN_S = (0.3, 4.0)
GIVES_UP_S = 60.0
"""How long a client goes on trying to have an order accepted, or cancelled."""
EXPIRES_SOON_S = 7.0
"""An order that expires within that is not sent any more: a store's clock may be ahead."""
UNSURE = (UNANSWERED, 503)


@dataclass
class Trader:
    """All clients of a run."""

    http: Http
    journal: Journal
    market: Market
    feeds: list[Feed]
    ws: str
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    stories: dict[str, Story] = field(default_factory=dict)
    over: bool = False
    """Whether trading is over: nothing new is asked for."""

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this beside everything else."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def trade(self, planned: Planned) -> None:
        """Place an order as planned, and do with it what is planned."""
        body = self.filled(planned)
        for delay_s in planned.repeats:
            if planned.expires_in_s is None or delay_s + EXPIRES_SOON_S < planned.expires_in_s:
                self.start(self.repeat(body, delay_s, planned))
        await self.place(body, planned)

    def filled(self, planned: Planned) -> dict[str, Any]:
        """Fill in what depends on the moment: the price and the time of expiry."""
        body = dict(planned.body)
        if planned.off_bps is not None:
            body["limitPrice"] = self.market.limit(pair_of(body), planned.off_bps)
        if planned.exact_bps is not None:
            body["amountOut"] = self.market.worth(pair_of(body), body["amount"], planned.exact_bps)
        if planned.expires_in_s is not None:
            body["expiresAt"] = moment_in(planned.expires_in_s)
        return body

    async def place(self, body: dict[str, Any], planned: Planned) -> None:
        """POST until it is answered for certain: the same name is the same order, however often it is sent."""
        deadline = time.monotonic() + min(GIVES_UP_S, (planned.expires_in_s or 1e9) - EXPIRES_SOON_S)
        status, answer = await self.insistently(lambda: self.http.place(body), deadline)
        if status == 202:
            self.accepted(str(answer["orderId"]), body, planned)

    async def repeat(self, body: dict[str, Any], delay_s: float, planned: Planned) -> None:
        """Send the same once more."""
        await asyncio.sleep(delay_s)
        if self.over:
            return
        status, answer = await self.http.place(body)
        if status == 202:
            self.accepted(str(answer["orderId"]), body, planned)

    async def insistently(
        self, call: Callable[[], Coroutine[Any, Any, tuple[int, Any]]], deadline: float
    ) -> tuple[int, Any]:
        """Call until the answer is certain, or it is no use any more."""
        pause_s = AGAIN_S[0]
        while True:
            status, answer = await call()
            if status not in UNSURE or time.monotonic() > deadline or self.over:
                return status, answer
            await asyncio.sleep(pause_s)
            pause_s = min(AGAIN_S[1], pause_s * 2)

    def accepted(self, order_id: str, body: dict[str, Any], planned: Planned) -> None:
        """Follow an order from now on, and do what is planned with it; once, however often it was accepted."""
        if order_id in self.stories:
            return
        follower = f"socket-{planned.number}" if planned.feed is None else f"feed-{planned.feed}"
        story = self.stories[order_id] = Story(self.journal, follower, order_id)
        if planned.feed is None:
            self.start(self.listen(story, planned))
        else:
            self.feeds[planned.feed].follow(story)
        if planned.deeds:
            self.start(self.do(story, body, planned.deeds))

    async def listen(self, story: Story, planned: Planned) -> None:
        """Follow an order on a socket of its own."""
        await asyncio.sleep(planned.late_s)
        await socket.follow(self.ws, story, planned.drops)

    async def do(self, story: Story, body: dict[str, Any], deeds: tuple[Deed, ...]) -> None:
        """Amend and cancel an order as planned, while it has not ended as far as its client knows."""
        terms, begun = dict(body), time.monotonic()
        for deed in deeds:
            await asyncio.sleep(max(0.0, begun + deed.after_s - time.monotonic()))
            if story.ended or self.over:
                return
            if deed.kind == "amend":
                await self.amend(story, terms, deed)
            else:
                deadline = time.monotonic() + GIVES_UP_S
                await self.insistently(lambda: self.http.cancel(story.order_id), deadline)

    async def amend(self, story: Story, terms: dict[str, Any], deed: Deed) -> None:
        """Change an order; when it has moved on, once more by what its client has heard since."""
        for _ in range(2):
            terms[deed.change] = {
                "limitPrice": lambda: self.market.limit(pair_of(terms), deed.off_bps, terms.get("limitPrice")),
                "amount": lambda: deed.amount,
                "expiresAt": lambda: moment_in(deed.expires_in_s),
            }[deed.change]()
            status, _ = await self.http.amend(story.order_id, story.seq or 1, {deed.change: terms[deed.change]})
            if status != 412:
                return
            await asyncio.sleep(0.3)

    async def cancel_pairs(self, rng: Random) -> None:
        """Cancel everything of one pair, now and then."""
        while True:
            await asyncio.sleep(rng.uniform(15, 45))
            if self.over:
                return
            await self.http.cancel_pair(PAIR_CANCELLED)


def pair_of(body: dict[str, Any]) -> str:
    """Return the pair an order trades."""
    return f"{body['tokenIn']}-{body['tokenOut']}"


def moment_in(seconds: float) -> str:
    """Write a moment so far from now."""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
