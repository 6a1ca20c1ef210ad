"""Retention: move finished orders from the hot tables to the archive in bulk, and delete old archived orders.

A batch is one transaction, so an order's row, events, attempts and dead letter are all in one place or the other. It
takes only rows that are not locked and waits for none, so a live order never waits for it. While the engine is busy, it
does nothing. Ids sort by time, so the due orders are a range of the primary key, and finding them reads nothing else.

An order stays, however old, if it is unfinished, has an open attempt, failed and its dead letter is undecided, or was
replayed by an order that is still in the hot tables.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction

from engine.lifecycle import FINAL, Status
from orders.flow import dbsync, dispatch
from orders.models import Order, SealKind, Verdict
from orders.operations import heartbeats
from orders.stores import balances, journal, seals, trading_holds
from orders.stores.attempts import OPEN
from orders.stores.ids import first_at
from orders.stores.rows import fetch
from routing.sandbox import ledger
from routing.store import now_ms, redis

log = structlog.get_logger(__name__)

BATCH = 500
"""Orders per transaction, which takes well under a second; beat requests one batch a second."""
PAGES = 10
"""Maximum number of pages of BATCH orders examined per call, until one has orders to move."""
TRAIL_MS = 3_600_000
"""How far the walk stays behind: an order that ended within this time of its creation is due when it is reached."""
ROUND_S = 86_400
"""How often the walk starts over, for orders that became due after it had passed them."""
BUSY_MS = 250
"""Age of a queue's oldest message, or of DBSync's oldest entry, above which the engine counts as busy."""
BOOKMARK = "retention:bookmark"
DAY_MS = 86_400_000

FINALS = sorted(status.value for status in FINAL)


def retire() -> int:
    """Move one batch of due orders to the archive, and delete one batch whose time in the archive is over.

    What orders used of the trading limits of past days goes, too.

    Return how many orders were moved.
    """
    trading_holds.prune()
    if not (settings.RETENTION_DAYS or settings.ARCHIVE_DAYS) or busy():
        return 0
    moved = next_batch(settings.RETENTION_DAYS) if settings.RETENTION_DAYS else 0
    forgotten = forget(settings.ARCHIVE_DAYS) if settings.ARCHIVE_DAYS else 0
    if settings.RETENTION_DAYS:
        journal.forget(settings.RETENTION_DAYS)
    if moved or forgotten:
        log.info("orders retired", moved=moved, forgotten=forgotten)
    return moved


def busy() -> bool:
    """Tell whether live orders need the capacity."""
    # A queue without live workers is ignored: its age says nothing about the load on the others.
    worked = heartbeats.alive()
    ages = [age or 0 for queue, age in dispatch.ages_ms().items() if queue != "dlq" and worked[queue]]
    return max([*ages, dbsync.behind_ms()]) > BUSY_MS


def next_batch(days: int) -> int:
    """Continue the walk from the bookmark until a page had orders to move; return how many were moved."""
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
    """Return the next BATCH ids of a range."""
    rows = Order.objects.filter(pk__gt=after, pk__lt=before).order_by("pk")
    return list(rows.values_list("pk", flat=True)[:BATCH])


def bookmark(after: UUID) -> None:
    """Remember how far the walk has come. If that is lost with Redis or expires (ROUND_S), the walk starts over."""
    pipe = redis().pipeline(transaction=True)
    pipe.set(BOOKMARK, str(after), keepttl=True)
    pipe.expire(BOOKMARK, ROUND_S, nx=True)
    pipe.execute()


def move(page: Sequence[UUID], days: int) -> int:
    """Move the due orders of a page in one transaction; return how many."""
    with transaction.atomic():
        pin_plan()
        ids = due(page, days)
        if ids:
            fills = balances.fills_of(ids)
            ledger.forget(take(ids))
            # Last: live orders of these accounts wait for the rows until this is committed.
            balances.carry_forward(fills)
    return len(ids)


def pin_plan() -> None:
    """Force index look-ups: on a table that was never analysed, the planner would scan all of it for every batch."""
    # Joins are left to the planner, unlike in DBSync: here they only join rows of the batch.
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")


def due(page: Sequence[UUID], days: int) -> list[UUID]:
    """Lock the due orders of a page, skipping rows that are locked already; return their ids."""
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
    """Move these orders, with everything that belongs to them, from their tables into the archive.

    Return the signatures of their attempts.
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
            INSERT INTO orders_archivedorder (id, owner_id, client_order_id, replay_of, tx_hash, columns, events,
                                              attempts, letter)
            SELECT o.id, o.owner_id, o.client_order_id, o.replay_of_id, o.tx_hash, to_jsonb(o),
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
    """Delete for good one batch of orders that were archived more than `days` ago; return how many.

    An archived replay stays while the order it replays is in the hot tables: it is the record of that replay.
    """
    with transaction.atomic():
        rows = fetch(
            """
            SELECT a.id FROM orders_archivedorder a WHERE a.archived_at < now() - %s
              AND NOT EXISTS (SELECT 1 FROM orders_order o WHERE o.id = a.replay_of)
            ORDER BY a.archived_at LIMIT %s FOR UPDATE OF a SKIP LOCKED
            """,
            timedelta(days=days),
            BATCH,
        )
        if rows:
            ids = [order_id for (order_id,) in rows]
            # The seals come first: the trigger `orders_archived_leaves` lets no order go without.
            seals.hold()
            seals.append([seals.Entry(SealKind.FORGOTTEN, order_id=order_id) for order_id in ids])
            fetch("DELETE FROM orders_archivedorder WHERE id = ANY(%s)", ids)
    return len(rows)
