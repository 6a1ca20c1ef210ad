"""The faults of a run: of what kind, when, for how long."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

ROLES = {
    "order": 40,
    "limit": 12,
    "api": 6,
    "dbsync": 9,
    "stream": 8,
    "sniper": 7,
    "beat": 6,
    "dlq": 4,
    "launcher": 4,
}
"""How often each kind of process is hit."""

PER_MINUTE = {
    "kill": 7.5,
    "freeze": 4.0,
    "short freeze": 1.6,
    "fall": 0.1,
    "redis killed": 0.6,
    "redis emptied": 0.6,
    "redis rolled back": 0.4,
    "redis frozen": 0.2,
    "postgres killed": 0.4,
    "postgres connections terminated": 0.6,
    "postgres read-only": 0.3,
    "postgres frozen": 0.2,
    "messages": 2.0,
    "redis clock": 0.5,
    "postgres clock": 0.2,
    "venues": 1.2,
    "chain": 1.6,
}
"""How often each kind of fault comes.  `fall` is the launcher's end, and all that it started goes with it."""

LENGTHS = {
    "freeze": (6.0, 15.0),
    "short freeze": (2.0, 5.0),
    "fall": (0.2, 2.0),
    "redis killed": (0.1, 3.0),
    "redis rolled back": (0.1, 1.0),
    "redis frozen": (2.0, 6.0),
    "postgres killed": (0.1, 3.0),
    "postgres read-only": (3.0, 8.0),
    "postgres frozen": (2.0, 6.0),
    "messages": (1.0, 4.0),
    "redis clock": (5.0, 20.0),
    "venues": (3.0, 15.0),
    "chain": (3.0, 15.0),
}
"""From how long to how long each lasts, in seconds; the others are over at once."""

VENUE_FAULTS: tuple[dict[str, Any], ...] = (
    {"down": True},
    {"hang_ms": 2_000},
    {"hang_ms": 20_000},
    {"lie_bps": 300},
    {"lie_bps": -300},
    {"lie_bps": 3_000},
    *({"garbage": kind} for kind in ("nonsense", "nan", "zero", "negative", "huge")),
)
CHAIN_FAULTS: tuple[dict[str, Any], ...] = (
    {"down": True},
    {"hang_ms": 1_500},
    # Longer than a lease, and long enough for a freeze to fall between two steps.
    {"slow_ms": 6_500},
    {"slow_ms": 1_500},
    {"slow_ms": 1_500},
    {"drop_rate": 0.5},
    {"drop_rate": 1.0},
    {"unanswered_rate": 0.6},
    {"late_ms": 4_000},
    {"forget_rate": 1.0, "forget_ms": 4_000},
    {"forget_rate": 0.5, "forget_ms": 8_000, "unanswered_rate": 0.3},
)


HIT = (("RAYDIUM",), ("METEORA",), ("METEORA",), ("RAYDIUM", "METEORA"))
"""Venues that are hit together; orders go to Meteora more often, its fee is lower."""


@dataclass(frozen=True)
class Aim:
    """What breaks in a run: the kinds of faults by how often they come; of no other kind does any."""

    per_minute: Mapping[str, float]
    roles: Mapping[str, int] = field(default_factory=lambda: ROLES)
    lengths: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """How long some kinds last, if not as long as usual."""
    chain: Sequence[dict[str, Any]] = CHAIN_FAULTS
    venues: Sequence[dict[str, Any]] = VENUE_FAULTS
    hit: Sequence[tuple[str, ...]] = HIT
    audited: bool = True
    """Whether the stock of the book is taken, which an operator may switch off."""


USUAL = Aim(PER_MINUTE)


@dataclass(frozen=True)
class Planned:
    """One fault; what it needs to know is in `facts`, `target` picks among what can be hit at that moment."""

    at_s: float
    kind: str
    lasts_s: float
    role: str = ""
    target: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


def faults(seed: int, seconds: float, aim: Aim = USUAL) -> list[Planned]:
    """Return a run's faults, as they come: each kind spread over the whole run, at moments nobody chose."""
    rng = Random(f"{seed}:faults")
    planned = [one for kind in aim.per_minute for one in of_kind(kind, seconds, aim, rng)]
    return sorted([*planned, *between_steps(planned, rng)], key=lambda one: one.at_s)


BETWEEN_S = 25.0
"""From the end of one outage to the next."""
OUTAGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("postgres killed", {}),
    ("redis killed", {}),
    ("venues", {"venues": {"RAYDIUM": {"down": True}, "METEORA": {"down": True}}}),
    ("chain", {"chain": {"down": True}}),
    ("postgres frozen", {}),
    ("redis frozen", {}),
)
"""Whatever an order needs, away by itself."""


def outages(seconds: float) -> list[Planned]:
    """Return faults that take everything away once, one after the other, for so long."""
    return [
        Planned(number * (seconds + BETWEEN_S) + BETWEEN_S / 2, kind, seconds, facts=known)
        for number, (kind, known) in enumerate(OUTAGES)
    ]


def over(planned: Sequence[Planned]) -> float:
    """Return when the last of these is over, and its traces are, too."""
    return max(one.at_s + one.lasts_s for one in planned) + BETWEEN_S


def between_steps(planned: Sequence[Planned], rng: Random) -> Iterator[Planned]:
    """Yield a freeze of an order worker for each time that the chain is slow: it will be waiting for an answer."""
    for one in planned:
        if one.facts.get("chain", {}).get("slow_ms"):
            at_s = one.at_s + rng.uniform(0.2, one.lasts_s / 2)
            yield Planned(at_s, "freeze", rng.uniform(6.0, 11.0), "order", rng.random())


def of_kind(kind: str, seconds: float, aim: Aim, rng: Random) -> Iterator[Planned]:
    """Yield the faults of one kind: one in each of as many equal parts of the run; of a rare kind at least one."""
    count = max(1, round(aim.per_minute[kind] * seconds / 60))
    lengths = {**LENGTHS, **aim.lengths}
    for number in range(count):
        at_s = (number + rng.random()) * seconds / count
        lasts_s = rng.uniform(*lengths[kind]) if kind in lengths else 0.0
        role = rng.choices(tuple(aim.roles), tuple(aim.roles.values()))[0]
        yield Planned(at_s, kind, lasts_s, role, rng.random(), facts(kind, aim, rng))


def facts(kind: str, aim: Aim, rng: Random) -> dict[str, Any]:
    """Draw what a fault of this kind needs."""
    match kind:
        case "redis rolled back":
            return {"loses_s": rng.uniform(0.1, 1.0)}
        case "messages":
            return {"shares": dict(zip(("drop", "delay", "double"), (rng.random() for _ in range(3)), strict=True))}
        case "redis clock":
            return {"shift_s": rng.choice((-1, 1)) * rng.uniform(0.5, 5.0)}
        case "postgres clock":
            return {"shift_s": rng.uniform(0.2, 1.5)}
        case "venues":
            return {"venues": {name: rng.choice(aim.venues) for name in rng.choice(aim.hit)}}
        case "chain":
            return {"chain": rng.choice(aim.chain)}
    return {}
