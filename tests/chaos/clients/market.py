"""What clients know of prices: BEST of some pairs, asked for again and again, and on which ticks limits lie."""

import asyncio
from contextlib import suppress
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

from tests.chaos.clients.http import Http
from tests.chaos.clients.journal import Journal

PAIRS = ("SOL-USDC", "USDC-SOL")
EVERY_S = 1.0
FRESH_MS = 3_000


class Market:
    """The last that was read."""

    def __init__(self, http: Http, journal: Journal) -> None:
        self.http = http
        self.journal = journal
        self.best: dict[str, Decimal] = {}
        self.ticks: dict[str, Decimal] = {}

    async def open(self) -> None:
        """Read the ticks, and the first prices."""
        while not self.ticks:
            status, pairs = await self.http.call("GET", "/api/pairs")
            self.ticks = {one["pair"]: Decimal(one["tick"]) for one in pairs["results"]} if status == 200 else {}
        while not self.best.keys() >= set(PAIRS):
            await self.look()
            await asyncio.sleep(0.1)

    async def watch(self) -> None:
        """Read prices for ever."""
        while True:
            with suppress(KeyError, TypeError):
                await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Read the prices once."""
        for pair in PAIRS:
            status, body = await self.http.call("GET", f"/api/quotes/{pair}")
            best = body["best"] if status == 200 else None
            if best and best["ageMs"] < FRESH_MS and self.is_sane(pair, Decimal(best["netPrice"])):
                self.best[pair] = Decimal(best["netPrice"])
                self.journal.write("best", pair=pair, price=best["netPrice"])

    def is_sane(self, pair: str, price: Decimal) -> bool:
        """Tell whether a price can be: a venue that answers garbage is no reason to place nonsense."""
        known = self.best.get(pair, price)
        return known / 2 < price < known * 2

    def limit(self, pair: str, off_bps: int, other_than: str | None = None) -> str:
        """Return a limit price so far from BEST, on the pair's tick; another than that one."""
        tick = self.ticks[pair]
        price = self.best[pair] * (10_000 + off_bps) / 10_000
        whole = (price / tick).to_integral_value(ROUND_HALF_UP)
        if other_than is not None and whole * tick == Decimal(other_than):
            whole += 1
        return f"{(whole * tick).normalize():f}"

    def worth(self, pair: str, amount: str, bps: int) -> str:
        """Return so much of what an amount is worth, in tokens out to six decimals, which each of them has."""
        worth = Decimal(amount) * self.best[pair] * bps / 10_000
        return f"{worth.quantize(Decimal('0.000001'), ROUND_DOWN).normalize():f}"
