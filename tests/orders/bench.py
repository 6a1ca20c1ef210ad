"""A bench for orders in one process: real stores, the sandbox market at rest, and no waiting.

`Bench` drives the same functions the workers' tasks call; the broker gets its messages, and nobody reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from engine.money import Token
from engine.orders import Order, OrderType
from engine.quotes import Pair, Quote
from orders import archive, execution, intake, live, models, settlement
from orders.intake import NewOrder
from routing import asking, quotes, wiring
from routing import models as routing_models
from routing.catalogue import catalogue
from routing.store import now_ms, redis
from routing.venues import FEE_BPS, VENUES

TOKENS = {
    "SOL": Token("SOL", "So11111111111111111111111111111111111111112", 9),
    "USDC": Token("USDC", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", 6),
    "JUP": Token("JUP", "JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN", 6),
}
PAIRS = ("SOL-USDC", "USDC-SOL", "JUP-USDC")


def seed_catalogue() -> None:
    """Put tokens and pairs where a flushed database has none."""
    rows = {
        name: routing_models.Token.objects.get_or_create(
            mint=t.mint, defaults={"symbol": t.symbol, "decimals": t.decimals}
        )[0]
        for name, t in TOKENS.items()
    }
    for name in PAIRS:
        sold, bought = name.split("-")
        routing_models.Pair.objects.get_or_create(token_in=rows[sold], token_out=rows[bought])
    catalogue.forget()


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

    def order(
        self, amount: int = 1_500_000_000, slippage_bps: int = 50, client_order_id: str | None = None
    ) -> NewOrder:
        """Make a market order to sell SOL; `amount` in lamports."""
        return NewOrder(Order(intake.new_id(), OrderType.MARKET, self.pair, amount, slippage_bps, client_order_id))

    def place(self, count: int = 1, **options: Any) -> list[str]:
        """Accept so many orders; return their ids."""
        ids = [accepted.order_id for accepted in intake.accept([self.order(**options) for _ in range(count)])]
        self.ids += ids
        return ids

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
        return [live.decode(text) for text in live.events([order_id]).get(order_id, [])]

    def statuses(self, order_id: str) -> list[str]:
        """Return the statuses its clients were told."""
        return [event["status"] for event in self.events(order_id)]

    def archive(self) -> None:
        """Do what DBSync does when it is woken."""
        archive.drain()

    def row(self, order_id: str) -> models.Order:
        """Return an order's row."""
        return models.Order.objects.get(pk=order_id)

    def messages(self, queue: str) -> int:
        """Count the wake-ups waiting in a queue."""
        return int(redis().llen(queue))

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


def forget_wiring() -> None:
    """Build market, venues and chain anew, by the settings of the next test."""
    for made in (wiring.market, wiring.venues, wiring.chain, wiring.wallet, asking.asker):
        made.cache_clear()
