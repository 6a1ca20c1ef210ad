"""Dashboard figures: order outcomes, stage times, queue depths, quote ages, dead letters and repairs.

Every statement reads a bounded range through an index, so none slows down as orders accumulate. An order's id begins
with its creation time, so a time range is a range of the primary key.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from engine.lifecycle import FINAL
from orders.flow import dbsync, dispatch
from orders.flow.dead_letters import Outlook, outlook_of
from orders.models import MOVING_SQL, Pause
from orders.operations import condition, incidents, reconciliation
from orders.stores import book
from orders.stores.ids import first_at
from routing import away, quotes
from routing.catalogue import catalogue
from routing.risk_limits import risk_limits
from routing.store import StoreError, now_ms, redis
from routing.venues import VENUES

log = structlog.get_logger(__name__)

MINUTES = 60
"""Minutes covered by the per-minute order counts."""
COUNTED_MAX = 100_000
"""Maximum number of orders counted, newest first. In a long burst the older minutes are undercounted."""
RECENT_MINUTES = 15
RECENT_MAX = 5_000
"""Maximum number of orders used for stage times, venues and retries: the newest of RECENT_MINUTES."""
LETTERS_MAX = 10_000
RESTING_MAX = 1_000
"""Maximum number of resting orders counted per pair. Beyond it, the figure only says that there are more."""
PAUSES_MAX, STOP = 100, ("scope", "name", "state", "reason", "by")
REMEMBER_S = 2.0
"""How long figures are cached for all viewers."""

OUTCOMES = (*sorted(FINAL), "unfinished")
STAGES = ("pending", "triggered", "routing", "building", "submitted", "total")
LIFE = "total"
"""From accepted to confirmed."""

# array_agg yields the smallest id of the range, because Postgres has no min(uuid).
RECENT = """
    SELECT count(*), (array_agg(id ORDER BY id))[1] FROM (
        SELECT id FROM orders_order WHERE id >= %s ORDER BY id DESC LIMIT %s
    ) AS newest
"""
PER_MINUTE = """
    SELECT date_trunc('minute', created_at), status, count(*) FROM (
        SELECT created_at, status FROM orders_order WHERE id >= %s ORDER BY id DESC LIMIT %s
    ) AS newest GROUP BY 1, 2
"""
# The time a limit or sniper order rests is left out: it depends on the market, not on the engine.
STAGE_TIMES = """
    WITH told AS (
        SELECT e.order_id, e.status, o.type, o.status AS ended,
               extract(epoch FROM lead(e.at) OVER later - e.at) * 1000 AS ms,
               extract(epoch FROM e.at - first_value(e.at) OVER later) * 1000 AS since
        FROM orders_orderevent e JOIN orders_order o ON o.id = e.order_id
        WHERE e.order_id >= %s WINDOW later AS (PARTITION BY e.order_id ORDER BY e.seq)
    ), spent AS (
        SELECT status, ms FROM told WHERE ms IS NOT NULL AND NOT (status = 'pending' AND type <> 'market')
        UNION ALL
        SELECT 'total', since FROM told WHERE status = 'confirmed' AND type = 'market'
    )
    SELECT status, count(*), percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY ms)
    FROM spent GROUP BY status
"""
BY_VENUE = "SELECT venue, state, count(*) FROM orders_attempt WHERE order_id >= %s GROUP BY venue, state"
RETRIES = """
    SELECT coalesce(facts->'retry'->>'code', facts->'returned'->>'code'), count(*)
    FROM orders_orderevent WHERE order_id >= %s AND (facts ? 'retry' OR facts ? 'returned') GROUP BY 1
"""
LETTERS = """
    SELECT verdict, replay_may_help, replayed_at IS NOT NULL, count(*) FROM (
        SELECT verdict, replay_may_help, replayed_at FROM orders_deadletter ORDER BY id DESC LIMIT %s
    ) AS newest GROUP BY 1, 2, 3
"""
OLDEST = f"""
    SELECT id, status, created_at, extract(epoch FROM now() - created_at) FROM orders_order
    WHERE {MOVING_SQL} ORDER BY created_at LIMIT 1
"""  # noqa: S608 - a constant of the models
RESTING = """
    SELECT name, (
        SELECT count(*) FROM (
            SELECT 1 FROM orders_order WHERE pair = name AND status = 'pending' AND NOT (type = 'market') LIMIT %s
        ) AS few
    ) FROM unnest(%s::text[]) AS name
"""


@dataclass(frozen=True, slots=True)
class Recent:
    """The newest orders, which most figures cover: their number, and the id of the first."""

    orders: int
    first: UUID | None


def since(minutes: int) -> UUID:
    """Return the smallest id of an order accepted in the last `minutes`."""
    return first_at(int((time.time() - minutes * 60) * 1000))


def ask(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def recent() -> Recent:
    """Find the newest orders: at most RECENT_MAX, of the last RECENT_MINUTES."""
    ((orders, first),) = ask(RECENT, since(RECENT_MINUTES), RECENT_MAX)
    return Recent(orders, first)


def per_minute() -> list[dict[str, Any]]:
    """Count accepted orders per minute by outcome, oldest minute first."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    minutes = {now - timedelta(minutes=back): dict.fromkeys(OUTCOMES, 0) for back in range(MINUTES - 1, -1, -1)}
    for minute, status, count in ask(PER_MINUTE, since(MINUTES), COUNTED_MAX):
        if minute in minutes:
            minutes[minute][status if status in FINAL else "unfinished"] += count
    return [{"minute": minute.isoformat(), **counts} for minute, counts in minutes.items()]


def stage_times(within: Recent) -> list[dict[str, Any]]:
    """Return percentiles of the time recent orders spent in each stage, in milliseconds."""
    found = {stage: (count, times) for stage, count, times in ask(STAGE_TIMES, within.first)} if within.first else {}
    return [
        {"stage": stage, "count": found[stage][0], **dict(zip(("p50", "p95", "p99"), found[stage][1], strict=True))}
        for stage in STAGES
        if stage in found
    ]


def by_venue(within: Recent) -> list[dict[str, Any]]:
    """Count recent attempts by venue: how often it won an order, and the results on chain."""
    rows = ask(BY_VENUE, within.first) if within.first else []
    names = [*VENUES, *sorted({venue for venue, *_ in rows} - set(VENUES))]
    tally = {name: dict.fromkeys(("landed", "rejected", "expired", "open"), 0) for name in names}
    for venue, state, count in rows:
        tally[venue][state if state in ("landed", "rejected", "expired") else "open"] += count
    return [{"venue": name, "attempts": sum(states.values()), **states} for name, states in tally.items()]


def retries(within: Recent) -> list[dict[str, Any]]:
    """Count the retries of recent orders by error code, most frequent first."""
    rows = ask(RETRIES, within.first) if within.first else []
    return [{"code": code, "count": count} for code, count in sorted(rows, key=lambda row: (-row[1], row[0]))]


def letters() -> list[dict[str, Any]]:
    """Count the newest dead letters by the outlook of a replay."""
    tally = dict.fromkeys(Outlook, 0)
    for verdict, may_help, replayed, count in ask(LETTERS, LETTERS_MAX):
        tally[outlook_of(verdict, may_help=may_help, replayed=replayed)] += count
    return [{"outlook": str(name), "count": count} for name, count in tally.items()]


def oldest() -> dict[str, Any] | None:
    """Return the oldest unfinished order. Resting orders are left out: they are supposed to wait."""
    rows = ask(OLDEST)
    return {"id": str(rows[0][0]), "status": rows[0][1], "age_s": round(float(rows[0][3]), 1)} if rows else None


def resting() -> list[dict[str, Any]]:
    """Count the resting orders of each pair, up to RESTING_MAX each; pairs without any are left out."""
    names = sorted({*catalogue().active, *known_to_the_book()})
    rows = ask(RESTING, RESTING_MAX + 1, names)
    return [
        {"pair": name, "count": min(count, RESTING_MAX), "more": count > RESTING_MAX} for name, count in rows if count
    ]


def known_to_the_book() -> Sequence[str]:
    """Return the pairs that have resting limit orders; none while Redis is down."""
    try:
        return book.pairs()
    except StoreError:
        return ()


def quote_ages() -> list[dict[str, Any]]:
    """Return the age of each venue's last quote of each active pair, in milliseconds, and whether BEST is fresh."""
    known, now = quotes.cached(sorted(catalogue().active)), now_ms()
    found = []
    for name, cached in known.items():
        ages = {quote.venue: max(0, quote.age(now)) for quote in cached.quotes}
        fresh = bool(cached.best and cached.best.age(now) <= risk_limits.QUOTE_FRESH_MS)
        found.append({"pair": name, "fresh": fresh, "ages": {venue: ages.get(venue) for venue in VENUES}})
    return found


def queues() -> list[dict[str, Any]]:
    """Return, by queue, the number of messages no worker has taken and the age of the oldest (None if unknown)."""
    ages = dispatch.ages_ms()
    return [{"queue": name, "length": length, "age_ms": ages[name]} for name, length in dispatch.depths().items()]


def repaired() -> dict[str, int]:
    """Return the all-time counts of orders found missing from the book, misplaced in it, or behind."""
    found: Mapping[str, str] = redis().hgetall(reconciliation.REPAIRED)  # type: ignore[assignment]
    return {kind: int(found.get(kind, 0)) for kind in ("missing", "misplaced", "behind")}


def paused() -> list[dict[str, Any]]:
    """Return what operators have stopped; usually only a few rows."""
    rows = Pause.objects.order_by("pk")[:PAUSES_MAX]
    return [{"what": str(row), **{name: getattr(row, name) for name in STOP}} for row in rows]


def from_postgres() -> dict[str, Any]:
    """Gather the figures that Postgres holds."""
    within = recent()
    return {
        "recent": {"orders": within.orders, "minutes": RECENT_MINUTES, "capped": within.orders >= RECENT_MAX},
        "minutes": per_minute(),
        "stages": stage_times(within),
        "venues": by_venue(within),
        "retries": retries(within),
        "letters": letters(),
        "pauses": paused(),
        "notes": incidents.noted(),
        "oldest": oldest(),
        "resting": resting(),
    }


def from_redis() -> dict[str, Any]:
    """Gather the figures that Redis holds."""
    return {
        "quotes": quote_ages(),
        "freshMs": risk_limits.QUOTE_FRESH_MS,
        "staleMs": risk_limits.QUOTE_STALE_MS,
        "dbsync": dbsync.backlog(),
        "repaired": repaired(),
    }


def from_broker() -> dict[str, Any]:
    """Gather the figures of the broker, which is Redis unless BROKER_URL names RabbitMQ."""
    return {"queues": queues()}


def gather() -> dict[str, Any]:
    """Gather all figures. A store that does not answer is named in `away`, and its figures are missing."""
    parts = [asdict(part) for part in condition.parts()]
    found: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "away": [], "parts": parts}
    broker = "RabbitMQ" if settings.BROKER_URL else "Redis"
    for store, part in (("Postgres", from_postgres), ("Redis", from_redis), (broker, from_broker)):
        try:
            found |= part()
        except (OperationalError, InterfaceError, *dispatch.BROKER_ERRORS) as reason:
            log.warning("dashboard figures not read", store=store, reason=repr(reason))
            sentence = f"{store} does not answer: {away.why(reason)}"
            found["away"] += [sentence] if sentence not in found["away"] else []
    return found


class Memory:
    """Cache of the process's last figures, so that a dozen open dashboards cost as much as one."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}
        self.gathered_at = float("-inf")
        self.gatherer = Lock()

    def __call__(self) -> dict[str, Any]:
        """Return figures at most REMEMBER_S old."""
        with self.gatherer:
            if time.monotonic() - self.gathered_at > REMEMBER_S:
                self.figures = gather()
                self.gathered_at = time.monotonic()
            return self.figures

    def forget(self) -> None:
        """Gather again on the next call."""
        self.gathered_at = float("-inf")


figures = Memory()
