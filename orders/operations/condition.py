"""The engine's condition, part by part, in the words that probes and the dashboard share.

Anyone may ask, so no sentence names an address, a user or a database: what a store's client raises goes to the log.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import structlog
from django.db import connection

from orders.flow import dispatch
from orders.operations import heartbeats
from routing import away, outages, quotes, store
from routing.catalogue import catalogue
from routing.risk_limits import risk_limits
from routing.store import StoreError, now_ms
from routing.venues import VENUES

log = structlog.get_logger(__name__)

OK = "ok"
HANGS_MS = 5_000
"""Age of a queue's oldest message from which its workers count as hanging: under load a message waits milliseconds."""
UNKNOWN = "unknown while a store is unavailable"


class State(StrEnum):
    """How a part is."""

    OK = "ok"
    DEGRADED = "degraded"
    """Orders are accepted and kept, and executed later."""
    DOWN = "down"
    """No order can be accepted."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the engine: what is wrong with it, and what to do."""

    name: str
    state: State
    said: str = OK
    remedy: str = ""


class Wrong(Exception):
    """A part answers, and is not well; the second argument is what to do."""


def parts() -> Sequence[Part]:
    """Try each part."""
    stores = [trial(name, ask, *WITHOUT[name]) for name, ask in STORES.items()]
    if any(store.state is not State.OK for store in stores):
        return [*stores, *(Part(name, State.UNKNOWN, UNKNOWN) for name in OTHERS)]
    return [*stores, *(trial(name, ask, State.DEGRADED) for name, ask in OTHERS.items())]


def trial(name: str, ask: Callable[[], None], worst: State, meaning: str = "") -> Part:
    """Return how a part is; at worst it is `worst`, which means `meaning`."""
    try:
        ask()
    except Wrong as reason:
        said, remedy = reason.args
        return Part(name, worst, said, remedy)
    except Exception as reason:
        note(name, f"{type(reason).__name__}: {str(reason).strip()}")
        said = "; ".join(filter(None, (away.why(reason), meaning)))
        return Part(name, worst, said, "See the log of the API for the store's own words.")
    note(name, "")
    return Part(name, State.OK)


noted: dict[str, str] = {}
"""What was last logged about each part."""


def note(part: str, reason: str) -> None:
    """Log why a part fails, once for each reason: who asks often must not fill the log."""
    if reason and reason != noted.get(part):
        log.warning("not ready", part=part, reason=reason)
    noted[part] = reason


def ask_postgres() -> None:
    """Run the smallest query that needs the tables."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM orders_order LIMIT 1")


def ask_redis() -> None:
    """Ping; StoreError when it is away, or silent for longer than a probe waits."""
    if not store.probe().ping():
        raise StoreError("no PONG")


def ask_quotes() -> None:
    """See whether every venue quotes, and no breaker is open."""
    known, now = quotes.cached(catalogue().active), now_ms()
    fresh_ms = risk_limits.QUOTE_FRESH_MS
    heard = {quote.venue for one in known.values() for quote in one.quotes if quote.age(now) <= fresh_ms}
    silent = [venue for venue in VENUES if venue not in heard]
    if silent:
        raise Wrong(
            f"{' and '.join(silent)} {'have' if len(silent) > 1 else 'has'} not quoted for more than {fresh_ms:,} ms",
            "Orders use another venue, or wait; market orders end at their deadline. See stream.log for the reason; "
            "pause a venue that stays silent.",
        )
    if failing := outages.failing():
        raise Wrong(
            "; ".join(failing.values()),
            "Orders use another venue where one can fill them. The breaker closes by itself once the venue is well; "
            "pause a venue that keeps failing.",
        )


def ask_workers() -> None:
    """See whether every queue has a worker, and whether it works."""
    alive = heartbeats.alive()
    missing = [queue for queue, count in alive.items() if not count]
    if missing:
        raise Wrong(
            f"no {listed(missing)} worker answers",
            "Their orders wait. One that has ended is started again by itself, see the end of its log; "
            "one that is frozen needs `manage.py restart` and its role.",
        )
    lost = {queue: count for queue, count in heartbeats.silent().items() if count}
    if lost:
        raise Wrong(
            "; ".join(partly(count, count + alive[queue], queue) for queue, count in lost.items()),
            "The others work on. One that is frozen needs `manage.py restart` and its role; one that was killed for "
            "good is forgotten after an hour.",
        )
    late = {queue: age for queue, age in dispatch.ages_ms().items() if age and age > HANGS_MS}
    if late:
        queue = max(late, key=lambda name: late[name])
        raise Wrong(
            f"the {listed(list(late))} worker does not keep up: a message has waited {late[queue] // 1000} s",
            "Restart it if it hangs, or run more of them.",
        )


def partly(lost: int, known: int, queue: str) -> str:
    return f"{lost} of {known} {queue} workers {'does' if lost == 1 else 'do'} not answer"


def listed(names: Sequence[str]) -> str:
    """Join names as in a sentence."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


STORES: Mapping[str, Callable[[], None]] = {"postgres": ask_postgres, "redis": ask_redis}
WITHOUT: Mapping[str, tuple[State, str]] = {
    "postgres": (State.DOWN, "no order can be accepted"),
    "redis": (State.DEGRADED, "orders are accepted and wait until it is back"),
}
"""How the engine is without each store, and what that means."""
OTHERS: Mapping[str, Callable[[], None]] = {"quotes": ask_quotes, "workers": ask_workers}
