"""Epochs: periods in which Redis lost no data.  Owner of the `store:` keys.

| key | type | holds |
|---|---|---|
| `store:epoch` | string | number of the current epoch; absent until one has begun |
| `store:run` | string | run id of the server on which it began |
| `store:comparing` | string | id of the comparison; present while that server is compared with Postgres |

Redis can lose data: it is emptied, it restarts from a file that is a second old, or a replica takes over.  Every such
loss ends the epoch, and the next one gets a higher number from Postgres.  Events carry the number, so that an event
written again is distinct from the one that was lost.  Scripts that move orders check it, so that none of them runs
between a loss and its detection.

An emptied Redis holds no stale data: any process that notices begins the next epoch.  A restarted Redis may hold old
versions of orders: the order worker compares them with Postgres first (orders/flow/recovery.py).
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
"""The beginning of scripts that must run only in the caller's epoch; ARGV[1] is the number of that epoch."""
OVER = "EPOCH"

LOCK = int.from_bytes(b"epoch", "big")
"""Number of the Postgres advisory lock that is held while an epoch begins."""
LOCKED_MAX_MS = 10_000

# Once this has run, a server with another run id ends the comparison: see DISTRUST in routing/store.py.
COMPARE = script(f"redis.call('SET', '{RUN}', ARGV[1]) redis.call('SET', '{COMPARING}', ARGV[2])")

# ARGV[3] is the id of the completed comparison, or '' if there was nothing to compare.
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


# Advances the epoch only if one has begun.  While a restarted Redis is being compared, nothing is needed: the epoch
# that begins afterwards is later still.  A caller that was frozen until Postgres released its lock must not replace a
# later epoch with an earlier one.
NEXT = script(
    f"""
local runs = redis.call('GET', '{EPOCH}')
if not runs then return redis.call('EXISTS', '{COMPARING}') end
if tonumber(runs) < tonumber(ARGV[1]) then redis.call('SET', '{EPOCH}', ARGV[1]) end
return 1
"""
)


class Recall(Enum):
    """Whether Redis still has its data."""

    WHOLE = "whole"
    EMPTY = "empty"
    DOUBTFUL = "doubtful"
    """Redis was restarted and may hold an earlier state."""


class Unverified(StoreError):
    """Redis was restarted and the order worker has not yet compared it with Postgres; a retry soon succeeds."""

    def __init__(self) -> None:
        super().__init__("Redis was started again and is being compared with Postgres; try again in a moment")


_known: int | None = None


def current() -> int:
    """Return the number of the epoch as known to this process; begin one if Redis was emptied.

    Raises Unverified, StoreError, DatabaseError.
    """
    global _known  # noqa: PLW0603 - a number that all threads may learn
    if _known is None:
        _known = read() or begin_if_empty()
    return _known


def known() -> int:
    """Return the last number known to this process, without a query; 0 for none."""
    return _known or 0


def forget() -> None:
    """Query the number again on the next use."""
    global _known  # noqa: PLW0603
    _known = None


def read() -> int | None:
    """Return the number of the current epoch from Redis; None if no epoch has begun."""
    found = redis().get(EPOCH)
    return int(str(found)) if found else None


recent = Memory("epoch", lambda: read() or begin_if_empty(), 0, (StoreError, DatabaseError), RECENT_S)
"""The number, at most RECENT_S old, for the first event of an order; 0 for none."""


def newest() -> int:
    """Return the highest epoch number assigned by Postgres; 0 for none.

    Raises DatabaseError.
    """
    found: int | None = StoreEpoch.objects.aggregate(newest=Max("pk"))["newest"]
    return found or 0


def recall() -> Recall:
    """Tell whether Redis still has its data.  The answer is valid only at the moment of the call."""
    epoch, run = redis().mget(EPOCH, RUN)
    if epoch:
        return Recall.WHOLE
    return Recall.DOUBTFUL if run else Recall.EMPTY


def begin_if_empty() -> int:
    """Begin an epoch if Redis was emptied; return the number of the current epoch.

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
    """Record that a comparison of the restarted server with Postgres begins; return the id of the comparison."""
    name = uuid4().hex
    COMPARE()([], [run_id(), name])
    return name


@step("epoch", Store.REDIS, "the next epoch has begun")
def begin(reason: str, compared: str = "") -> int:
    """Begin an epoch, unless another process has just done so; return its number.

    Its row is committed before Redis gets the number: from then on nothing of an earlier epoch is committed (`newest`).
    Raises Unverified if Redis has lost data again since the comparison `compared`.
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
    # A process that was frozen until its lock expired may set its number after a later one, if Redis was lost again.
    return number if number >= newest() else advance("an earlier epoch had taken a later one's place")


def run_id() -> str:
    """Return the server's run id, which changes with every start."""
    return str(redis().info("server")["run_id"])


@step("epoch-next", Store.REDIS, "the next epoch has begun, although nothing was lost")
def advance(reason: str) -> int:
    """Begin the next epoch although Redis has lost nothing, because events it published in this one must be withdrawn.

    Raises Unverified if Redis has lost data and is not being compared with Postgres.
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
    """Hold the lock under which epochs begin: of two concurrent rows, only one could become Redis' epoch.

    A process that is frozen in here for LOCKED_MAX_MS loses its lock and session, so that others can proceed.
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
    """Call `act` with the number of the epoch; retry with the new number if that epoch is over.

    Raises Unverified, StoreError, DatabaseError.
    """
    for _ in range(3):
        try:
            return act(current())
        except ResponseError as reason:
            if not str(reason).startswith(OVER):
                raise
            forget()
    raise StoreError("Redis keeps losing data")
