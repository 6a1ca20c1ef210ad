"""Marks for the rebuild of Redis: the lock of the rebuilding process, and the epoch in which Redis is complete."""

from orders.stores.scripts import LUA
from routing.crashpoints import Store, step
from routing.store import lua, redis, script

REBUILT = "orders:rebuilt"
REBUILDING = "orders:rebuilding"
REBUILD_MS = 10_000
"""How long the lock lasts without renewal before another process may rebuild: a page takes well below a second."""
MARK_REBUILT = script(lua(LUA / "mark_rebuilt.lua"))


def is_rebuilt(epoch: int) -> bool:
    """Tell whether Redis has been rebuilt in this epoch, so that it holds all that Postgres knows."""
    return bool(redis().get(REBUILT) == str(epoch))


def begin_rebuild() -> bool:
    """Take the rebuild lock, unless another process has it; `rebuilding` renews it."""
    return bool(redis().set(REBUILDING, "1", nx=True, px=REBUILD_MS))


def rebuilding() -> None:
    """Renew the rebuild lock."""
    redis().set(REBUILDING, "1", px=REBUILD_MS)


def end_rebuild() -> None:
    """Release the rebuild lock, whether or not the rebuild is complete: another process may start one."""
    redis().delete(REBUILDING)


@step("rebuilt", Store.REDIS, "Redis is marked as rebuilt")
def mark_rebuilt(epoch: int) -> bool:
    """Record that Redis holds all that Postgres knows; False if the epoch is over, and the rebuilt data may be lost."""
    return bool(MARK_REBUILT()([], [epoch]))
