"""A sandbox exchange: the market's price after a venue's usual delay."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from engine.quotes import Pair, Quote
from routing.sandbox.market import Market
from routing.venues import FEE_BPS, VenueDown


@dataclass(frozen=True, slots=True)
class SandboxVenue:
    """One exchange on the sandbox market; `delay_ms` is the least and the most a quote takes."""

    name: str
    market: Market
    delay_ms: tuple[int, int]
    clock_ms: Callable[[], int]
    rng: Random
    is_down: Callable[[str], bool]
    asleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def quote(self, pair: Pair) -> Quote:
        """Ask what the pair is worth; the price is that of the moment the answer is given.

        Raises VenueDown at once, as a refused connection would.
        """
        if self.is_down(self.name):
            raise VenueDown(f"{self.name} is down")
        requested_at = self.clock_ms()
        delay_ms = self.rng.randint(*self.delay_ms)
        if delay_ms:
            await self.asleep(delay_ms / 1000)
        observed_at = self.clock_ms()
        pool = self.market.pool(self.name, pair, observed_at)
        price = pool.spot(pair.token_in, pair.token_out)
        return Quote(self.name, pair.name, price, FEE_BPS[self.name], pool, requested_at, observed_at)
