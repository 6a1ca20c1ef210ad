"""The rebuild of an emptied Redis: who is at it, and since which epoch Redis is whole."""

from orders.stores.scripts import LUA
from routing.crashpoints import Store, step
from routing.store import lua, redis, script

REBUILT = "orders:rebuilt"
REBUILDING = "orders:rebuilding"
REBUILD_MS = 10_000
"""How long a rebuild may say nothing before another process begins one: a page takes well below a second."""
MARK_REBUILT = script(lua(LUA / "mark_rebuilt.lua"))


def is_rebuilt(epoch: int) -> bool:
    """Tell whether Redis holds all that Postgres knows, since this epoch began."""
    return bool(redis().get(REBUILT) == str(epoch))


def begin_rebuild() -> bool:
    """Take the rebuild upon this caller, unless another is at it; `rebuilding` keeps it."""
    return bool(redis().set(REBUILDING, "1", nx=True, px=REBUILD_MS))


def rebuilding() -> None:
    """Say that the rebuild goes on."""
    redis().set(REBUILDING, "1", px=REBUILD_MS)


def end_rebuild() -> None:
    """Leave the rebuild, done or not, to whoever finds that one is needed."""
    redis().delete(REBUILDING)


@step("rebuilt", Store.REDIS, "Redis counts as whole")
def mark_rebuilt(epoch: int) -> bool:
    """Note that Redis holds all that Postgres knows; False when the epoch is over, and with it what was rebuilt."""
    return bool(MARK_REBUILT()([], [epoch]))
