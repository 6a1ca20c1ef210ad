"""The orders of a run: what each asks, when, and what its client does with it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

SEGMENT_S = 5.0
PACES = (0.3, 0.7, 1.0, 1.0, 1.3, 2.2)
"""How many times the usual rate orders come for a while."""

AMOUNTS = {
    "SOL": (0.2, 8.0, 4),
    "USDC": (20, 900, 2),
    "JUP": (50, 900, 3),
    "RAY": (20, 300, 3),
    "WIF": (20, 400, 3),
    "BONK": (1_000_000, 20_000_000, 0),
}
"""From, to, and with how many decimals orders sell of a token: far from what would move a pool's price."""
MARKETS = (("SOL", "USDC"), ("SOL", "USDC"), ("USDC", "SOL"), ("JUP", "USDC"), ("WIF", "SOL"), ("BONK", "USDC"))
LIMITS = (*[("SOL", "USDC")] * 5, ("USDC", "SOL"))
SNIPED = ("WIF", "JUP", "BONK")
NOW, SOON, NEVER = (-400, -100), (-60, 90), (600, 3_500)
"""How far a limit is from BEST, in bps: met at once, in the midst of the price's ways, out of reach."""
EXACT_BPS = (9_000, 10_100)
"""How much of what its amount is worth, in bps, an order buys exactly: seldom more than it may spend on it."""
FAR = "900000000000"
"""Worth or volume in USD that no market reaches."""
PAIR_CANCELLED = "USDC-SOL"
"""The one pair of which clients cancel everything now and then."""


@dataclass(frozen=True)
class Deed:
    """Something a client does with an order, so long after it was accepted."""

    after_s: float
    kind: str
    """`cancel` or `amend`."""
    change: str = ""
    """What an amendment changes: `limitPrice`, `amount` or `expiresAt`."""
    off_bps: int = 0
    amount: str = ""
    expires_in_s: float = 0.0


@dataclass(frozen=True)
class Planned:
    """One order: what is asked, and how its client behaves."""

    number: int
    at_s: float
    body: dict[str, Any]
    """The order as it is sent, but for prices and times, which depend on the moment."""
    off_bps: int | None = None
    """How far its limit is from BEST when it is sent."""
    exact_bps: int | None = None
    """How much of what its amount is worth, by BEST when it is sent, it buys exactly."""
    expires_in_s: float | None = None
    deeds: tuple[Deed, ...] = ()
    repeats: tuple[float, ...] = ()
    """Seconds after the first POST at which the same is sent again."""
    feed: int | None = None
    """Which of the sockets that carry many orders follows it; none when it has a socket of its own."""
    drops: tuple[int, ...] = ()
    """Numbers of events after which its own socket is dropped, to come back for the rest."""
    late_s: float = 0.0
    """How long after it was accepted its own socket is opened."""


@dataclass
class Orders:
    """All orders of a run, in the order in which they come."""

    seed: int
    seconds: float
    rate: float
    feeds: int = 6
    rng: Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = Random(f"{self.seed}:orders")

    def __iter__(self) -> Iterator[Planned]:
        """Yield them."""
        number = 0
        for begin in range(int(self.seconds / SEGMENT_S) or 1):
            pace = self.rate * self.rng.choice(PACES)
            at_s = begin * SEGMENT_S + self.rng.expovariate(pace)
            while at_s < min(self.seconds, (begin + 1) * SEGMENT_S):
                yield self.order(number, at_s)
                number += 1
                at_s += self.rng.expovariate(pace)

    def order(self, number: int, at_s: float) -> Planned:
        """Make one order."""
        kind = self.rng.choices(("market", "limit", "sniper"), (45, 42, 13))[0]
        make = {"market": self.market, "limit": self.limit, "sniper": self.sniper}[kind]
        made: dict[str, Any] = make()
        made["body"] = {"type": kind, **made["body"], "clientOrderId": f"chaos-{self.seed}-{number}"}
        return Planned(number, at_s, repeats=self.repeats(), **self.follower(made), **made)

    def market(self) -> dict[str, Any]:
        """Make a market order; now and then somebody tries to cancel it."""
        sold, bought = self.rng.choice(MARKETS)
        tight = self.rng.random() < 0.1
        slippage = self.rng.randint(1, 20) if tight else self.rng.randint(100, 800)
        deeds = (Deed(self.rng.uniform(0, 0.3), "cancel"),) if self.rng.random() < 0.05 else ()
        made: dict[str, Any] = {"body": {**self.swap(sold, bought), "slippageBps": slippage}, "deeds": deeds}
        if (sold, bought) in LIMITS and self.rng.random() < 0.25:
            made["exact_bps"] = self.rng.randint(*EXACT_BPS)
        return made

    def limit(self) -> dict[str, Any]:
        """Make a limit order: at once, soon or never; until cancelled, until a date, or not at all."""
        sold, bought = self.rng.choice(LIMITS)
        how = self.rng.choices((NOW, SOON, NEVER), (3, 4, 3))[0]
        force = self.rng.choices(("gtc", "gtd", "ioc"), (55, 33, 12))[0]
        made: dict[str, Any] = {
            "body": {**self.swap(sold, bought), "slippageBps": self.rng.randint(50, 500), "timeInForce": force},
            "off_bps": self.rng.randint(*how),
        }
        if force == "gtd":
            made["expires_in_s"] = self.rng.uniform(2, 40)
        if force != "ioc":
            made["deeds"] = tuple(self.deeds(sold, force, 0.5 if how is NEVER else 0.2))
        return made

    def sniper(self) -> dict[str, Any]:
        """Make a sniper order: on what comes in a moment, or on what never comes."""
        token, comes = self.rng.choice(SNIPED), self.rng.random() < 0.75
        liquidity = {"kind": "liquidity", "atLeast": "100000" if comes else FAR}
        volume = {"kind": "volume", "atLeast": "1" if comes else FAR, "windowS": 60}
        trigger = [self.rng.choice((liquidity, volume))]
        deeds = () if comes else tuple(self.deeds("SOL", "gtc", 0.7, ("amount",)))
        body = {**self.swap("SOL", token), "slippageBps": self.rng.randint(100, 800), "trigger": trigger}
        return {"body": body, "deeds": deeds}

    def swap(self, sold: str, bought: str) -> dict[str, str]:
        """Say what is sold for what, and how much."""
        return {"tokenIn": sold, "tokenOut": bought, "amount": self.amount(sold)}

    def amount(self, token: str) -> str:
        """Draw an amount: hardly ever the same twice, so that terms can be told apart."""
        low, high, places = AMOUNTS[token]
        drawn = round(self.rng.uniform(low, high), places)
        return f"{drawn:.{places}f}".rstrip("0").rstrip(".") if places else str(int(drawn))

    def deeds(
        self, sold: str, force: str, chance: float, changes: tuple[str, ...] = ("limitPrice", "amount")
    ) -> Iterator[Deed]:
        """Draw what a client does with an order that may rest: amends it once or twice, cancels it."""
        at_s = 0.0
        kinds = (*changes, "expiresAt") if force == "gtd" else changes
        while self.rng.random() < chance * 0.7 and at_s < 20:
            at_s += self.rng.expovariate(1 / 4)
            off_bps = self.rng.randint(*self.rng.choice((NOW, SOON, NEVER)))
            amount, expires_in_s = self.amount(sold), self.rng.uniform(3, 40)
            yield Deed(at_s, "amend", self.rng.choice(kinds), off_bps, amount, expires_in_s)
        if self.rng.random() < chance:
            yield Deed(at_s + self.rng.expovariate(1 / 6), "cancel")

    def repeats(self) -> tuple[float, ...]:
        """Draw when the same POST is sent again: at the same time, or after a while."""
        return (self.rng.choice((0.0, 0.02, self.rng.uniform(0.1, 15))),) if self.rng.random() < 0.12 else ()

    def follower(self, made: dict[str, Any]) -> dict[str, Any]:
        """Draw how the order is followed; what may rest to the end shares a socket."""
        rests = (made.get("off_bps") or 0) >= NEVER[0] or any("900000000000" in str(made["body"]) for _ in (0,))
        if rests or self.rng.random() < 0.4:
            return {"feed": self.rng.randrange(self.feeds)}
        drops = (
            tuple(sorted(self.rng.sample(range(1, 6), self.rng.choice((1, 1, 2))))) if self.rng.random() < 0.3 else ()
        )
        return {"drops": drops, "late_s": self.rng.choice((0.0, 0.0, 0.0, self.rng.uniform(0, 5)))}
