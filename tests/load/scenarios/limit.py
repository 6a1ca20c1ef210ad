"""Limit orders on both sides at an even pace: reached at once, by the market or by an amendment, cancelled, expired.

.venv/bin/locust -f tests/load/scenarios/limit.py --headless --host http://127.0.0.1:8000

None waits long on any market: what the price does not reach in `NEAR_S` is amended to where the price is.
"""

import json
from datetime import datetime, timedelta
from decimal import Decimal

from tests.load.scenarios.listening import opened
from tests.load.scenarios.prices import amount_of, beside, pair_of
from tests.load.scenarios.running import scenario
from tests.load.scenarios.story import Json, Story, Wrong
from tests.load.scenarios.thresholds import Thresholds
from tests.load.scenarios.trader import FILLED, Pace, Trader, Watch

__all__ = ["LimitTrader", "Pace"]

PLANS = ("reached", "near", "reached", "amended", "reached", "cancelled", "near", "expired", "reached", "ioc")
"""What becomes of ten orders."""
REACHED_BPS, NEAR_BPS, FAR_BPS = -100, 1, 3_000
"""How far from BEST a limit is: fires at once, fires when the price rises a little, does not fire."""
NEAR_S = 3.0
"""How long the price is given to reach an order."""
EXPIRES_S = 5.0
"""How long an order lives that is to expire: longer than a busy engine takes to accept it."""

scenario("limit", Thresholds())


class LimitTrader(Trader):
    """Has each order do what its turn is."""

    def trade(self, number: int) -> str:
        """Place a limit order, have it go its way, and see it end."""
        # By the round, so that each plan comes to each pair.
        pair = pair_of(self.environment.parsed_options, number + number // len(PLANS))
        plan = PLANS[number % len(PLANS)]
        order = {"type": "limit", "tokenIn": pair[0], "tokenOut": pair[1], "amount": amount_of(pair[0], number)}
        ways = {
            "reached": self.fires,
            "near": self.fires,
            "amended": self.is_amended,
            "cancelled": self.is_cancelled,
            "expired": self.expires,
            "ioc": self.is_not_filled_at_once,
        }
        ways[plan](order, REACHED_BPS if plan == "reached" else NEAR_BPS if plan == "near" else FAR_BPS)
        return f"limit, {plan}"

    def fires(self, order: Json, bps: int) -> None:
        """See an order filled that the price reaches, or is made to reach."""
        story = self.place(order | {"limitPrice": self.price(order, bps)})
        with self.following(story) as watch:
            self.see_filled(watch)

    def is_amended(self, order: Json, bps: int) -> None:
        """See an order filled once its price is changed."""
        story = self.place(order | {"limitPrice": self.price(order, bps)})
        with self.following(story) as watch:
            watch.next()
            self.check_rests(story)
            self.amend(story, limitPrice=self.price(order, REACHED_BPS))
            self.see_filled(watch)
        if story.seq < 2 or "amended" not in story.heard[1].raw:
            raise story.wrong("was amended and never told so")

    def is_cancelled(self, order: Json, bps: int) -> None:
        """See an order cancelled that rested."""
        story = self.place(order | {"limitPrice": self.price(order, bps)})
        with self.following(story) as watch:
            watch.next()
            self.check_rests(story)
            self.cancel(story)
            watch.to_end("cancelled")

    def expires(self, order: Json, bps: int) -> None:
        """See an order end whose time has passed."""
        price = self.price(order, bps)
        until = self.engine_now(order) + timedelta(seconds=EXPIRES_S)
        story = self.place(order | {"limitPrice": price, "expiresAt": until.isoformat(timespec="milliseconds")})
        with self.following(story) as watch:
            watch.to_end("expired")

    def is_not_filled_at_once(self, order: Json, bps: int) -> None:
        """See an order end that is to be filled at once or not at all."""
        story = self.place(order | {"limitPrice": self.price(order, bps), "timeInForce": "ioc"})
        with self.following(story) as watch:
            watch.to_end("cancelled")

    def see_filled(self, watch: Watch) -> None:
        """Wait for the price, then have the order follow it, until it is filled."""
        while not watch.wait_for(FILLED, within_s=NEAR_S) or not self.ends_filled(watch):
            self.amend(watch.story, limitPrice=self.price(watch.story.asked, REACHED_BPS))

    def ends_filled(self, watch: Watch) -> bool:
        """Tell whether an order that has fired is filled; its price may have gone, and it rests again."""
        watch.wait_for(frozenset({"pending"}))
        if watch.story.is_final:
            watch.to_end("confirmed")
        return watch.story.is_final

    def check_rests(self, story: Story) -> None:
        """Check that the API says of an order that it rests, and what it lacks.

        Raises Wrong.
        """
        order = self.read(story)
        if order["status"] != "pending" or not order["resting"] or Decimal(order["resting"]["awayBps"] or 0) <= 0:
            raise story.wrong(f"should rest above BEST, but is {order['status']}, {order['resting']}")

    def price(self, order: Json, bps: int) -> str:
        """Return a limit price so far from what BEST is now.

        Raises Wrong.
        """
        tick = self.tick(f"{order['tokenIn']}-{order['tokenOut']}")
        return f"{beside(Decimal(self.best(order)['netPrice']), bps, tick):f}"

    def engine_now(self, order: Json) -> datetime:
        """Return the time by the engine's clock: this machine's may be another.

        Raises Wrong.
        """
        best = self.best(order)
        return datetime.fromisoformat(best["observedAt"]) + timedelta(milliseconds=best["ageMs"])

    def best(self, order: Json) -> Json:
        """Return the better quote of an order's pair.

        Raises Wrong.
        """
        path = f"/api/quotes/{order['tokenIn']}-{order['tokenOut']}"
        quotes = self.call("GET", path, 200, name="/api/quotes/{pair}")
        if quotes["best"] is None:
            raise Wrong(f"GET {path}: no venue quotes this pair")
        found: Json = quotes["best"]
        return found

    def tick(self, pair: str) -> Decimal:
        """Return what limit prices of a pair are multiples of, from the first message of its feed.

        Raises Wrong.
        """
        if pair not in TICKS:
            with opened(f"{self.socket_base}/ws/quotes/{pair}") as ear:
                TICKS[pair] = Decimal(json.loads(ear.next(self.patience_s) or "{}")["tick"])
        return TICKS[pair]


TICKS: dict[str, Decimal] = {}
