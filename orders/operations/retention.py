"""Retention: finished orders leave the hot tables, in bulk, for the archive; the archive forgets in its turn.

A batch is one transaction: its orders' rows, with events, attempts and dead letters, are in the one place or the other.
It takes the rows nobody holds and waits for none, so a live order never waits for it; and while the engine has enough
to do, it does nothing.  Ids sort by time, so what is due is a stretch of the primary key: finding it reads no more.

What stays, however old: an order that is not finished, has an open attempt, failed without its dead letter having been
decided, or is replayed by an order that has not left.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction

from engine.lifecycle import FINAL, Status
from orders.flow import dbsync, dispatch
from orders.models import Order, Verdict
from orders.operations import heartbeats
from orders.stores.attempts import OPEN
from orders.stores.ids import first_at
from orders.stores.rows import fetch
from routing.sandbox import ledger
from routing.store import now_ms, redis

log = structlog.get_logger(__name__)

BATCH = 500
"""Orders in one transaction, which takes well below a second; beat asks for one a second."""
PAGES = 10
"""Stretches of BATCH orders looked at in one go, until one has something to move."""
TRAIL_MS = 3_600_000
"""How far the walk stays behind: what ended within this time of its creation is due when the walk comes by."""
ROUND_S = 86_400
"""How often the walk begins again, for what has become due behind it."""
BUSY_MS = 250
"""Age of a queue's oldest message, or of DBSync's oldest entry, from which live orders need the machine."""
BOOKMARK = "retention:bookmark"
DAY_MS = 86_400_000

FINALS = sorted(status.value for status in FINAL)


def retire() -> int:
    """Move one batch of what is due to the archive, and forget one of what the archive no longer keeps.

    Return how many orders were moved.
    """
    if not (settings.RETENTION_DAYS or settings.ARCHIVE_DAYS) or busy():
        return 0
    moved = next_batch(settings.RETENTION_DAYS) if settings.RETENTION_DAYS else 0
    forgotten = forget(settings.ARCHIVE_DAYS) if settings.ARCHIVE_DAYS else 0
    if moved or forgotten:
        log.info("orders retired", moved=moved, forgotten=forgotten)
    return moved


def busy() -> bool:
    """Tell whether live orders need the machine."""
    # A queue that nobody works through says nothing of those that are.
    worked = heartbeats.alive()
    ages = [age or 0 for queue, age in dispatch.ages_ms().items() if queue != "dlq" and worked[queue]]
    return max([*ages, dbsync.behind_ms()]) > BUSY_MS


def next_batch(days: int) -> int:
    """Walk on from where the last walk ended until something was moved; return how many orders."""
    before = first_at(now_ms() - days * DAY_MS - TRAIL_MS)
    after = UUID(str(redis().get(BOOKMARK) or UUID(int=0)))
    for _ in range(PAGES):
        page = stretch(after, before)
        if not page:
            return 0
        moved = move(page, days)
        after = page[-1]
        bookmark(after)
        if moved:
            return moved
    return 0


def stretch(after: UUID, before: UUID) -> list[UUID]:
    """Return the next ids of a range."""
    rows = Order.objects.filter(pk__gt=after, pk__lt=before).order_by("pk")
    return list(rows.values_list("pk", flat=True)[:BATCH])


def bookmark(after: UUID) -> None:
    """Remember how far the walk has come; forgotten, with Redis or once a round, it only begins again."""
    pipe = redis().pipeline(transaction=True)
    pipe.set(BOOKMARK, str(after), keepttl=True)
    pipe.expire(BOOKMARK, ROUND_S, nx=True)
    pipe.execute()


def move(page: Sequence[UUID], days: int) -> int:
    """Move those of these orders that are due, in one transaction; return how many."""
    with transaction.atomic():
        pin_plan()
        ids = due(page, days)
        if ids:
            ledger.forget(take(ids))
    return len(ids)


def pin_plan() -> None:
    """Keep to index look-ups: on a table never analysed the planner would read all of it for every batch."""
    # Joins are left to the planner, unlike DBSync's: here they are within the batch.
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")


def due(page: Sequence[UUID], days: int) -> list[UUID]:
    """Lock those of these orders that are due and that nobody else holds; return their ids."""
    rows = fetch(
        """
        SELECT o.id FROM orders_order o
        WHERE o.id = ANY(%s) AND o.status = ANY(%s) AND o.updated_at < now() - %s
          AND NOT EXISTS (SELECT 1 FROM orders_attempt t WHERE t.order_id = o.id AND t.state = ANY(%s))
          AND NOT EXISTS (SELECT 1 FROM orders_order r WHERE r.replay_of_id = o.id)
          AND CASE WHEN o.status = %s THEN EXISTS (
                SELECT 1 FROM orders_deadletter l WHERE l.order_id = o.id
                 AND (l.replayed_at IS NOT NULL OR NOT l.replay_may_help OR l.verdict = %s)) ELSE true END
        ORDER BY o.id FOR UPDATE SKIP LOCKED
        """,
        list(page),
        FINALS,
        timedelta(days=days),
        OPEN,
        Status.FAILED.value,
        Verdict.LANDED.value,
    )
    return [order_id for (order_id,) in rows]


def take(ids: Sequence[UUID]) -> list[str]:
    """Take these orders, with all that belongs to them, out of their tables and into the archive.

    Return their attempts' signatures.
    """
    rows = fetch(
        """
        WITH events AS (
            DELETE FROM orders_orderevent e WHERE e.order_id = ANY(%s) RETURNING e.*
        ), attempts AS (
            DELETE FROM orders_attempt t WHERE t.order_id = ANY(%s) RETURNING t.*
        ), letters AS (
            DELETE FROM orders_deadletter l WHERE l.order_id = ANY(%s) RETURNING l.*
        ), gone AS (
            DELETE FROM orders_order o WHERE o.id = ANY(%s) RETURNING o.*
        ), kept AS (
            INSERT INTO orders_archivedorder (id, client_order_id, replay_of, tx_hash, columns, events, attempts,
                                              letter)
            SELECT o.id, o.client_order_id, o.replay_of_id, o.tx_hash, to_jsonb(o),
                   coalesce(e.told, '[]'), coalesce(t.made, '[]'), to_jsonb(l)
            FROM gone o
            LEFT JOIN (SELECT order_id, jsonb_agg(to_jsonb(events) ORDER BY seq) AS told FROM events GROUP BY 1) e
                   ON e.order_id = o.id
            LEFT JOIN (SELECT order_id, jsonb_agg(to_jsonb(attempts) ORDER BY id) AS made FROM attempts GROUP BY 1) t
                   ON t.order_id = o.id
            LEFT JOIN letters l ON l.order_id = o.id
        )
        SELECT signature FROM attempts
        """,
        *[list(ids)] * 4,
    )
    return [signature for (signature,) in rows]


def forget(days: int) -> int:
    """Delete one batch of what has been archived for so long, for good; return how many orders.

    What replays an order that is still here stays: it is what tells that the order has been replayed.
    """
    rows = fetch(
        """
        DELETE FROM orders_archivedorder WHERE id IN (
            SELECT a.id FROM orders_archivedorder a WHERE a.archived_at < now() - %s
              AND NOT EXISTS (SELECT 1 FROM orders_order o WHERE o.id = a.replay_of)
            ORDER BY a.archived_at LIMIT %s FOR UPDATE OF a SKIP LOCKED)
        RETURNING 1
        """,
        timedelta(days=days),
        BATCH,
    )
    return len(rows)
