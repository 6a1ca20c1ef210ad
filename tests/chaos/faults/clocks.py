"""Clocks of stores: Redis' steps ahead or back for a while, Postgres' steps ahead for good.

Postgres' clock is the sandbox chain's: a chain's time never goes back, and a step back would let a signature land that
had been proven dead, which no chain does.
"""

from tests.chaos.faults.ground import Ground, Hit
from tests.chaos.plan.faults import Planned


def redis_clock(ground: Ground, planned: Planned) -> Hit | None:
    """Have Redis' clock step, and step back later."""
    if "redis clock" in ground.busy or ground.redis.clock.library is None:
        return None
    ground.busy.add("redis clock")
    ground.redis.clock.set(planned.facts["shift_s"])

    def right() -> None:
        ground.redis.clock.set(0.0)
        ground.busy.discard("redis clock")

    return Hit("redis", right, {"shift_s": round(planned.facts["shift_s"], 2)})


def postgres_clock(ground: Ground, planned: Planned) -> Hit | None:
    """Have Postgres' clock step ahead."""
    if ground.postgres.clock.library is None:
        return None
    shift_s = ground.postgres.clock.shift_s + planned.facts["shift_s"]
    ground.postgres.clock.set(shift_s)
    return Hit("postgres", facts={"shift_s": round(shift_s, 2)})
