"""A sandbox exchange: the market's price after a venue's usual delay."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

from engine.quotes import Pair, Quote
from routing.sandbox.faults import NO_VENUE_FAULTS, Faults, VenueFaults, none
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
    faults: Callable[[], Faults] = none

    async def quote(self, pair: Pair) -> Quote:
        """Ask what the pair is worth; the price is that of the moment the answer is given.

        Raises VenueDown at once, as a refused connection would, and ValueError for an answer that makes no sense.
        """
        faults = self.faults().venues.get(self.name, NO_VENUE_FAULTS)
        if faults.down or self.is_down(self.name):
            raise VenueDown(f"{self.name} is down")
        requested_at = self.clock_ms()
        delay_ms = self.rng.randint(*self.delay_ms) + faults.hang_ms
        if delay_ms:
            await self.asleep(delay_ms / 1000)
        observed_at = self.clock_ms()
        pool = self.market.pool(self.name, pair, observed_at, faults.lie_bps)
        price = pool.spot(pair.token_in, pair.token_out)
        answer = Quote(self.name, pair.name, price, FEE_BPS[self.name], pool, requested_at, observed_at)
        return garbled(answer, faults) if faults.garbage else answer


def garbled(answer: Quote, faults: VenueFaults) -> Quote:
    """Return what becomes of an answer that is garbage.

    Raises ValueError where nothing is left of it that could be read.
    """
    if faults.garbage == "nonsense":
        raise ValueError(f"{answer.venue} answered {{]")
    prices = {"nan": Decimal("NaN"), "zero": Decimal(0), "negative": -answer.price, "huge": answer.price * 10**12}
    return replace(answer, price=prices[faults.garbage])
