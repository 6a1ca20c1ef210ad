"""Plans of faults that are aimed at one kind of mistake each, so that a minute is enough.

Orders, prices, clients and checker are those of every other run, and so is each single fault.
"""

from tests.chaos.plan.faults import CHAIN_FAULTS, Aim

ORDER = {"order": 1}
SLOW = tuple(fault for fault in CHAIN_FAULTS if "slow_ms" in fault)
UNSURE = tuple(fault for fault in CHAIN_FAULTS if "unanswered_rate" in fault)

FROZEN_BETWEEN_STEPS = Aim({"chain": 6.0, "freeze": 6.0}, ORDER, chain=SLOW)
"""Order workers freeze beyond their lease while a slow chain has them wait between two steps."""

FROZEN_WITHOUT_QUOTES = Aim(
    {"venues": 3.5, "freeze": 8.0},
    ORDER,
    lengths={"venues": (12.0, 15.0), "freeze": (6.0, 9.0)},
    venues=({"hang_ms": 20_000},),
    hit=(("RAYDIUM", "METEORA"),),
)
"""Order workers freeze beyond their lease while they have many orders in hand, all of which wait for a quote."""

UNANSWERED = Aim({"chain": 6.0, "kill": 3.0}, ORDER, chain=UNSURE)
"""Broadcasts are not answered, and are on their way."""

WORKERS_LOST = Aim({"kill": 8.0, "freeze": 4.0, "messages": 3.0}, {"order": 4, "limit": 1})
"""Workers die and freeze, wake-ups get lost."""

REFUSED_BY_THE_CHAIN = Aim({"kill": 4.0, "chain": 3.0}, ORDER)
"""The chain rejects, drops and forgets."""

EMPTIED_WHILE_POSTGRES_IS_AWAY = Aim(
    {"postgres frozen": 4.0, "postgres read-only": 4.0, "redis emptied": 12.0},
    lengths={"postgres frozen": (4.0, 6.0), "postgres read-only": (5.0, 8.0)},
)
"""What is told while Postgres takes nothing in is lost before it does."""

EMPTIED = Aim({"redis emptied": 6.0, "kill": 4.0}, ORDER, audited=False)
"""Redis is emptied several times, and nobody takes stock of the book."""

DBSYNC_LATE = Aim({"freeze": 4.0}, {"dbsync": 1}, lengths={"freeze": (12.0, 15.0)}, audited=False)
"""DBSync stands still most of the time, and nobody takes stock of the book."""
