"""Epochs: stretches of time in which Redis lost nothing.  Owner of the `store:` keys.

| key | type | holds |
|---|---|---|
| `store:epoch` | string | number of the epoch; absent until one has begun |
| `store:run` | string | run id of the server it began on |
| `store:comparing` | string | present while that server is compared with Postgres; names the comparison |

Redis forgets: it is emptied, comes back from a file that is a second old, or a replica takes its place.  Every such
loss ends the epoch, and the next one gets a number from Postgres, higher than any before.  Events carry the number, so
an event that was made anew is told apart from the one that was lost; and scripts that move orders name it, so none of
them runs between a loss and its discovery.

An emptied Redis has nothing left to contradict: whoever notices begins the next epoch.  One that was started again may
hold orders as they once were: the order worker compares them with Postgres first (orders/flow/recovery.py).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TypeVar
from uuid import uuid4

import structlog
from django.db import DatabaseError, connection
from django.db.models import Max
from redis.exceptions import ResponseError

from routing.crashpoints import Store, step
from routing.memory import Memory
from routing.models import StoreEpoch
from routing.store import COMPARING, EPOCH, RUN, StoreError, redis, script

log = structlog.get_logger(__name__)

T = TypeVar("T")

RECENT_S = 1.0

CHECK = f"""
if redis.call('GET', '{EPOCH}') ~= ARGV[1] then return redis.error_reply('EPOCH is over') end
"""
"""How a script begins that must not run in another epoch than the caller's; ARGV[1] is that one's number."""
OVER = "EPOCH"

LOCK = int.from_bytes(b"epoch", "big")
"""Number of the advisory lock in Postgres under which an epoch begins."""
LOCKED_MAX_MS = 10_000

# From here on a server other than this one ends the comparison: see DISTRUST in routing/store.py.
COMPARE = script(f"redis.call('SET', '{RUN}', ARGV[1]) redis.call('SET', '{COMPARING}', ARGV[2])")

# ARGV[3] names the comparison that has been made; '' where there was nothing to compare.
BEGIN = script(
    f"""
if not redis.call('GET', '{EPOCH}') then
  if ARGV[3] ~= '' and redis.call('GET', '{COMPARING}') ~= ARGV[3] then return 0 end
  redis.call('DEL', '{COMPARING}')
  redis.call('SET', '{EPOCH}', ARGV[1])
  redis.call('SET', '{RUN}', ARGV[2])
end
return redis.call('GET', '{EPOCH}')
"""
)


# Only where one runs.  While a Redis that was started again is compared, the epoch that begins then is later still.
# A caller that was frozen, and whose lock Postgres has let go, must not put an earlier one in the place of a later.
NEXT = script(
    f"""
local runs = redis.call('GET', '{EPOCH}')
if not runs then return redis.call('EXISTS', '{COMPARING}') end
if tonumber(runs) < tonumber(ARGV[1]) then redis.call('SET', '{EPOCH}', ARGV[1]) end
return 1
"""
)


class Recall(Enum):
    """How much Redis remembers."""

    WHOLE = "whole"
    EMPTY = "empty"
    DOUBTFUL = "doubtful"
    """It was started again, and may be as it was some time ago."""


class Unverified(StoreError):
    """Redis was started again and the order worker has not yet compared it with Postgres; try again in a moment."""

    def __init__(self) -> None:
        super().__init__("Redis was started again and is being compared with Postgres; try again in a moment")


_known: int | None = None


def current() -> int:
    """Return the number of the epoch, as this process knows it; begin one in an emptied Redis.

    Raises Unverified, StoreError, DatabaseError.
    """
    global _known  # noqa: PLW0603 - a number that all threads may learn
    if _known is None:
        _known = read() or begin_if_empty()
    return _known


def known() -> int:
    """Return the number this process has last heard of, without asking anybody; 0 for none."""
    return _known or 0


def forget() -> None:
    """Ask again next time."""
    global _known  # noqa: PLW0603
    _known = None


def read() -> int | None:
    """Return the number of the epoch that has begun."""
    found = redis().get(EPOCH)
    return int(str(found)) if found else None


recent = Memory("epoch", lambda: read() or begin_if_empty(), 0, (StoreError, DatabaseError), RECENT_S)
"""The number as it was RECENT_S ago at the latest, for an event that is the first of its order; 0 for none."""


def newest() -> int:
    """Return the highest number that Postgres has given to an epoch; 0 for none.

    Raises DatabaseError.
    """
    found: int | None = StoreEpoch.objects.aggregate(newest=Max("pk"))["newest"]
    return found or 0


def recall() -> Recall:
    """Tell how much Redis remembers; of no use to a caller who goes by it after a while."""
    epoch, run = redis().mget(EPOCH, RUN)
    if epoch:
        return Recall.WHOLE
    return Recall.DOUBTFUL if run else Recall.EMPTY


def begin_if_empty() -> int:
    """Begin an epoch in an emptied Redis.

    Raises Unverified.
    """
    match recall():
        case Recall.DOUBTFUL:
            raise Unverified
        case Recall.EMPTY:
            return begin("Redis was emptied")
    return read() or begin_if_empty()


@step("compare", Store.REDIS, "Redis is being compared with Postgres")
def compare() -> str:
    """Note that a server that was started again is compared with Postgres from now on; return the comparison's name."""
    name = uuid4().hex
    COMPARE()([], [run_id(), name])
    return name


@step("epoch", Store.REDIS, "the next epoch has begun")
def begin(reason: str, compared: str = "") -> int:
    """Begin an epoch, unless another has just done so; return its number.

    Its row is committed before Redis has it: from then on nothing of an earlier epoch is committed (`newest`).
    Raises Unverified when Redis has been lost again since it was `compared`.
    """
    forget()
    with one_at_a_time():
        if found := read():
            return found
        run = run_id()
        row = StoreEpoch.objects.create(run=run, reason=reason)
        number = int(BEGIN()([], [row.pk, run, compared]))
    if not number:
        raise Unverified
    log.warning("epoch began", epoch=number, reason=reason)
    # One that stood still until its lock was gone may have come after a later one, and Redis have been lost again.
    return number if number >= newest() else advance("an earlier epoch had taken a later one's place")


def run_id() -> str:
    """Return the name of the server's life: another after each start."""
    return str(redis().info("server")["run_id"])


@step("epoch-next", Store.REDIS, "the next epoch has begun, although nothing was lost")
def advance(reason: str) -> int:
    """Begin the next epoch although Redis has lost nothing: some of what it has told since must be told to be wrong.

    Raises Unverified when Redis has been lost, and is not being compared with Postgres.
    """
    forget()
    with one_at_a_time():
        row = StoreEpoch.objects.create(run=str(redis().get(RUN) or ""), reason=reason)
        if not NEXT()([], [row.pk]):
            raise Unverified
    log.warning("epoch began", epoch=row.pk, reason=reason)
    return int(row.pk)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let nobody else begin an epoch meanwhile: of two rows only one could become Redis' epoch.

    Whoever stands still in here for LOCKED_MAX_MS loses lock and session, so that the others can go on.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_lock(%s), set_config('idle_session_timeout', %s, false)", [LOCK, str(LOCKED_MAX_MS)]
        )
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s), set_config('idle_session_timeout', '0', false)", [LOCK])


def within(act: Callable[[int], T]) -> T:
    """Do something that needs the number of the epoch, again if that one is over.

    Raises Unverified, StoreError, DatabaseError.
    """
    for _ in range(3):
        try:
            return act(current())
        except ResponseError as reason:
            if not str(reason).startswith(OVER):
                raise
            forget()
    raise StoreError("Redis is losing what it holds again and again")
