"""Redis and Postgres: killed, frozen, emptied, rolled back, read-only, without connections."""

from collections.abc import Callable

import psycopg
import redis

from tests.chaos.faults.ground import Ground, Hit
from tests.chaos.plan.faults import Planned


def taken(ground: Ground, store: str) -> bool:
    """Take a store; False while another fault has it."""
    if store in ground.busy:
        return False
    ground.busy.add(store)
    return True


def giving_back(ground: Ground, store: str, undo: Callable[[], object]) -> Callable[[], None]:
    """Return what undoes a fault, and gives the store back when it answers again."""

    def undone() -> None:
        server = ground.redis if store == "redis" else ground.postgres
        undo()
        server.finish()
        ground.busy.discard(store)

    return undone


def redis_killed(ground: Ground, planned: Planned) -> Hit | None:
    """Kill Redis; it comes back with all that it had handed to the operating system."""
    if not taken(ground, "redis"):
        return None
    ground.redis.die()
    return Hit("redis", giving_back(ground, "redis", ground.redis.spawn))


def redis_rolled_back(ground: Ground, planned: Planned) -> Hit | None:
    """Kill Redis, and have it come back as it was up to a second ago; while nothing is written, that is no loss."""
    if ground.redis.written(planned.facts["loses_s"]) == 0 or not taken(ground, "redis"):
        return None
    lost = ground.redis.roll_back(planned.facts["loses_s"])
    facts = {"lost_bytes": lost, "loses_s": round(planned.facts["loses_s"], 2)}
    return Hit("redis", giving_back(ground, "redis", ground.redis.spawn), facts)


def redis_frozen(ground: Ground, planned: Planned) -> Hit | None:
    """Have Redis stand still."""
    if not taken(ground, "redis"):
        return None
    ground.redis.freeze()
    return Hit("redis", giving_back(ground, "redis", ground.redis.thaw))


def redis_emptied(ground: Ground, planned: Planned) -> Hit | None:
    """Empty Redis."""
    if "redis" in ground.busy:
        return None
    try:
        ground.redis.empty()
    except redis.RedisError:
        return None
    return Hit("redis")


def postgres_killed(ground: Ground, planned: Planned) -> Hit | None:
    """Kill Postgres; it comes back with all that was committed."""
    if not taken(ground, "postgres"):
        return None
    ground.postgres.die()
    return Hit("postgres", giving_back(ground, "postgres", ground.postgres.spawn))


def postgres_frozen(ground: Ground, planned: Planned) -> Hit | None:
    """Have Postgres stand still."""
    if not taken(ground, "postgres"):
        return None
    ground.postgres.freeze()
    return Hit("postgres", giving_back(ground, "postgres", ground.postgres.thaw))


def postgres_disconnected(ground: Ground, planned: Planned) -> Hit | None:
    """Terminate every connection to Postgres."""
    if "postgres" in ground.busy:
        return None
    try:
        return Hit("postgres", facts={"connections": ground.postgres.terminate()})
    except psycopg.Error:
        return None


def postgres_read_only(ground: Ground, planned: Planned) -> Hit | None:
    """Have Postgres refuse writes, as it does while a stand-by takes over."""
    if not taken(ground, "postgres"):
        return None
    try:
        ground.postgres.refuse_writes(True)
    except psycopg.Error:
        ground.busy.discard("postgres")
        return None
    return Hit("postgres", giving_back(ground, "postgres", lambda: ground.postgres.refuse_writes(False)))
