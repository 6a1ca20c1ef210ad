"""A sandbox exchange: quotes the market's price after a realistic delay."""

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
    """One exchange on the sandbox market; `delay_ms` is the minimum and maximum latency of a quote."""

    name: str
    market: Market
    delay_ms: tuple[int, int]
    clock_ms: Callable[[], int]
    rng: Random
    is_down: Callable[[str], bool]
    asleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    faults: Callable[[], Faults] = none

    async def quote(self, pair: Pair) -> Quote:
        """Return a quote for the pair, with the price at the time of the answer.

        Raises VenueDown immediately, like a refused connection, and ValueError for an unreadable answer.
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
    """Corrupt an answer as the fault demands.

    Raises ValueError if the corrupted answer cannot be parsed.
    """
    if faults.garbage == "nonsense":
        raise ValueError(f"{answer.venue} answered {{]")
    prices = {"nan": Decimal("NaN"), "zero": Decimal(0), "negative": -answer.price, "huge": answer.price * 10**12}
    return replace(answer, price=prices[faults.garbage])
