"""A bench for orders in one process: real stores, the sandbox market at rest, and no waiting.

`Bench` drives the same functions the workers' tasks call; the broker gets its messages, and nobody reads them.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from django.db import connection

from engine.amm import ConstantProduct
from engine.money import Token
from engine.orders import Order, OrderType
from engine.quotes import Pair, Quote
from engine.triggers import Condition
from orders import models
from orders.flow import dbsync, execution, intake, settlement
from orders.flow.intake import NewOrder
from orders.stores import event_codec, live
from orders.stores.ids import new_id
from routing import asking, epochs, quotes, wiring
from routing import models as routing_models
from routing.catalogue import catalogue
from routing.store import now_ms, redis
from routing.venues import FEE_BPS, VENUES

TOKENS = {
    "SOL": Token("SOL", "So11111111111111111111111111111111111111112", 9),
    "USDC": Token("USDC", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", 6),
    "JUP": Token("JUP", "JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN", 6),
}
TICKS = {"SOL-USDC": Decimal("0.01"), "USDC-SOL": Decimal("0.0000001"), "JUP-USDC": Decimal("0.00001")}
STAGES = ["pending", "routing", "building", "submitted", "confirmed"]


def seed_catalogue() -> None:
    """Put tokens and pairs where an emptied database has none."""
    token, pair = routing_models.Token, routing_models.Pair
    tokens = [token(mint=t.mint, symbol=t.symbol, decimals=t.decimals) for t in TOKENS.values()]
    token.objects.bulk_create(tokens, ignore_conflicts=True)
    named = [(name.split("-"), tick) for name, tick in TICKS.items()]
    pair.objects.bulk_create(
        [pair(token_in_id=TOKENS[i].mint, token_out_id=TOKENS[o].mint, tick=tick) for (i, o), tick in named],
        ignore_conflicts=True,
    )
    catalogue.forget()


OWNER = 1
"""The account of every order that tests place; tests/keyring.py calls as the same."""


@dataclass
class Bench:
    """One test's engine."""

    ids: list[str] = field(default_factory=list)

    @property
    def pair(self) -> Pair:
        """The pair most tests trade."""
        return Pair(TOKENS["SOL"], TOKENS["USDC"])

    def quote(self, venue: str, age_ms: int = 0, pair: Pair | None = None) -> Quote:
        """Put one venue's quote into the cache, as old as that."""
        pair = pair or self.pair
        pool = wiring.market().pool(venue, pair, now_ms())
        at = now_ms() - age_ms
        quote = Quote(venue, pair.name, pool.spot(pair.token_in, pair.token_out), FEE_BPS[venue], pool, at, at)
        redis().delete(quotes.key(pair.name, venue))
        quotes.store(quote)
        return quote

    def quote_all(self, age_ms: int = 0) -> None:
        """Put both venues' quotes into the cache."""
        for venue in VENUES:
            self.quote(venue, age_ms)

    def quote_all_of(self, pair: Pair) -> None:
        """Put both venues' quotes of a pair into the cache."""
        for venue in VENUES:
            self.quote(venue, pair=pair)

    def order(
        self, amount: int = 1_500_000_000, slippage_bps: int = 50, client_order_id: str | None = None
    ) -> NewOrder:
        """Make a market order to sell SOL; `amount` in lamports."""
        return NewOrder(
            Order(new_id(), OrderType.MARKET, self.pair, amount, slippage_bps, client_order_id, owner=OWNER)
        )

    def limit(self, price: str, amount: int = 1_500_000_000, **more: Any) -> NewOrder:
        """Make a limit order to sell SOL at this price or better; `amount` in lamports."""
        pair = replace(self.pair, tick=Decimal("0.01"))
        order = Order(new_id(), OrderType.LIMIT, pair, amount, 50, limit_price=Decimal(price), owner=OWNER, **more)
        return NewOrder(order)

    def snipe(self, mint: str, *conditions: Condition, amount: int = 500_000_000, **more: Any) -> NewOrder:
        """Make a sniper order to buy a token, listed or not, with SOL; `amount` in lamports."""
        pair = catalogue().pair(f"SOL-{mint}")
        return NewOrder(Order(new_id(), OrderType.SNIPER, pair, amount, 50, trigger=conditions, owner=OWNER, **more))

    def accept(self, *asked: NewOrder) -> list[str]:
        """Accept these orders; return their ids."""
        ids = [accepted.order_id for accepted in intake.accept(asked)]
        self.ids += ids
        return ids

    def place(self, count: int = 1, **options: Any) -> list[str]:
        """Accept so many market orders; return their ids."""
        return self.accept(*(self.order(**options) for _ in range(count)))

    def price(self, price: str, age_ms: int = 0, venue: str = "METEORA", pair: Pair | None = None) -> None:
        """Have one venue quote exactly this price, free of fees; the other, if it has a quote, keeps it."""
        pair = pair or self.pair
        at = now_ms() - age_ms
        scale = Decimal(10) ** (pair.token_in.decimals - pair.token_out.decimals)
        pool = ConstantProduct(10**18, int(Decimal(price) * 10**18 / scale) or 1)
        redis().delete(quotes.key(pair.name, venue))
        quotes.store(Quote(venue, pair.name, Decimal(price), 0, pool, at, at))

    def carry(self, ids: Sequence[str]) -> None:
        """Do what the order worker does when it is woken."""
        execution.carry(ids)

    def run(self, ids: Sequence[str]) -> None:
        """Carry orders to their end."""
        self.carry(ids)
        while settlement.look():
            pass

    def events(self, order_id: str) -> list[dict[str, Any]]:
        """Return an order's live events."""
        return [event_codec.load(text) for text in live.events([order_id]).get(order_id, [])]

    def statuses(self, order_id: str) -> list[str]:
        """Return the statuses its clients were told."""
        return [event["status"] for event in self.events(order_id)]

    def archive(self) -> None:
        """Do what DBSync does when it is woken."""
        dbsync.drain()

    def row(self, order_id: str) -> models.Order:
        """Return an order's row."""
        return models.Order.objects.get(pk=order_id)

    def messages(self, queue: str) -> int:
        """Count the wake-ups waiting in a queue."""
        return int(redis().llen(queue))

    def sent(self, task: str) -> list[dict[str, Any]]:
        """Return what each waiting message of a task names, the oldest first."""
        messages = [json.loads(text) for text in redis().lrange(task.partition(".")[0], 0, -1)]
        bodies = [json.loads(base64.b64decode(m["body"]))[1] for m in messages if m["headers"]["task"] == task]
        return bodies[::-1]

    def pass_time(self, order_id: str, ms: int) -> None:
        """Let an order's lease and backoff be over `ms` sooner, as if that time had passed."""
        key = live.key(order_id)
        for name in ("lease", "ready"):
            value = int(redis().hget(key, name) or 0)
            redis().hset(key, name, max(0, value - ms))
        redis().zincrby(live.OPEN, -ms, order_id)

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask Postgres directly."""
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def empty_redis() -> None:
    """Empty Redis, and have this process know of no epoch but the next."""
    redis().flushdb()
    epochs.forget()
    epochs.recent.forget()


def forget_wiring() -> None:
    """Build market, venues and chain anew, by the settings of the next test."""
    for made in (wiring.misbehaviour, wiring.market, wiring.venues, wiring.chain, wiring.wallet, asking.asker):
        made.cache_clear()
