"""Daily trading limits in Postgres: how much is used, and by which orders.

Whoever admits orders under a limit locks its row of the day first, and holds the lock until the orders' own rows are
committed: of groups that race for what is left, one after the other gets its part.  Everybody locks in one sequence:
rows of orders that are there, rows of limits, parts; each by id.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from orders.stores.rows import fetch, fetch_as, recordset

DELETED_MAX = 10_000
"""Rows of days that are over, deleted per statement."""


@dataclass(slots=True)
class Use:
    """One limit today: its value now, and what is used of it."""

    limit: int
    day: date
    used: Decimal
    value: int


@dataclass(frozen=True, slots=True)
class Hold:
    """What an order uses of a limit on a day."""

    order_id: str
    limit: int
    day: date
    value: Decimal


def lock(limits: Collection[int]) -> dict[int, Use]:
    """Lock the rows of today (UTC) of these limits; one that was deleted meanwhile is left out."""
    rows = fetch_as(
        Use,
        """
        INSERT INTO orders_tradinglimituse AS u (limit_id, day, used)
        SELECT id, (statement_timestamp() AT TIME ZONE 'UTC')::date, 0 FROM orders_tradinglimit WHERE id = ANY(%s)
        ORDER BY id
        ON CONFLICT (limit_id, day) DO UPDATE SET used = u.used
        RETURNING limit_id AS limit, day, used,
                  (SELECT value FROM orders_tradinglimit l WHERE l.id = u.limit_id) AS value
        """,
        sorted(limits),
    )
    return {row.limit: row for row in rows if row.value is not None}


def unfinished(order_ids: Collection[str]) -> set[str]:
    """Return those of these orders that have not ended without a fill, nor will before this transaction is over."""
    rows = fetch(
        """
        SELECT id::text FROM orders_order WHERE id = ANY(%s::uuid[]) AND closed_at IS NULL ORDER BY id FOR KEY SHARE
        """,
        list(order_ids),
    )
    return {order_id for (order_id,) in rows}


def book(holds: Sequence[Hold]) -> None:
    """Count what these orders use; the rows of their limits are locked.  A second time replaces the first."""
    fetch(
        """
        WITH asked AS (
            SELECT * FROM json_to_recordset(%s) AS h(order_id uuid, limit_id bigint, day date, value numeric)
        ), before AS (
            SELECT h.* FROM orders_tradinglimithold h JOIN asked USING (order_id, limit_id, day)
        ), made AS (
            INSERT INTO orders_tradinglimithold (order_id, limit_id, day, value)
            SELECT order_id, limit_id, day, value FROM asked
            ON CONFLICT (order_id, limit_id, day) DO UPDATE SET value = excluded.value
        )
        UPDATE orders_tradinglimituse u SET used = u.used + s.added
        FROM (SELECT a.limit_id, a.day, sum(a.value - coalesce(b.value, 0)) AS added
              FROM asked a LEFT JOIN before b USING (order_id, limit_id, day) GROUP BY 1, 2) AS s
        WHERE u.limit_id = s.limit_id AND u.day = s.day
        """,
        recordset(as_row(hold) for hold in holds),
    )


def as_row(hold: Hold) -> dict[str, Any]:
    return {
        "order_id": hold.order_id,
        "limit_id": hold.limit,
        "day": hold.day.isoformat(),
        "value": str(hold.value),
    }


def release(order_ids: Collection[str]) -> None:
    """Give back what orders used that end without a fill; their rows are locked."""
    fetch(
        """
        WITH held AS (
            SELECT u.limit_id, u.day FROM orders_tradinglimituse u
            WHERE (u.limit_id, u.day) IN (
                SELECT limit_id, day FROM orders_tradinglimithold WHERE order_id = ANY(%s::uuid[]))
            ORDER BY u.limit_id, u.day FOR UPDATE
        ), gone AS (
            DELETE FROM orders_tradinglimithold h USING held
            WHERE h.order_id = ANY(%s::uuid[]) AND h.limit_id = held.limit_id AND h.day = held.day
            RETURNING h.limit_id, h.day, h.value
        )
        UPDATE orders_tradinglimituse u SET used = u.used - sums.value
        FROM (SELECT limit_id, day, sum(value) AS value FROM gone GROUP BY 1, 2) AS sums
        WHERE u.limit_id = sums.limit_id AND u.day = sums.day
        """,
        *[list(order_ids)] * 2,
    )


def counted(order_ids: Sequence[str], limits: Collection[int]) -> dict[tuple[str, int], Hold]:
    """Return what these orders use of these limits today, by order and limit."""
    rows = fetch_as(
        Hold,
        """
        SELECT order_id::text, limit_id AS limit, day, value FROM orders_tradinglimithold
        WHERE order_id = ANY(%s::uuid[]) AND limit_id = ANY(%s)
          AND day = (statement_timestamp() AT TIME ZONE 'UTC')::date
        """,
        list(order_ids),
        list(limits),
    )
    return {(row.order_id, row.limit): row for row in rows}


def repeated(asked: Sequence[dict[str, Any]]) -> set[str]:
    """Return those orders, by id, that their account has placed alike within the time given with each."""
    rows = fetch(
        """
        SELECT a.id::text FROM json_to_recordset(%s) AS a(id uuid, since uuid, within_s bigint, owner int, type text,
            pair text, amount_in numeric, amount_out numeric, limit_price numeric, max_price numeric, trigger jsonb)
        WHERE EXISTS (SELECT FROM orders_order o WHERE o.owner_id = a.owner AND o.id > a.since
            AND o.created_at > statement_timestamp() - a.within_s * interval '1 second'
            AND (o.type, o.pair, o.amount_in, o.trigger) = (a.type, a.pair, a.amount_in, a.trigger)
            AND o.amount_out IS NOT DISTINCT FROM a.amount_out
            AND o.limit_price IS NOT DISTINCT FROM a.limit_price AND o.max_price IS NOT DISTINCT FROM a.max_price)
        """,
        recordset(asked),
    )
    return {order_id for (order_id,) in rows}


def prune() -> int:
    """Delete rows of days before yesterday, a bounded number at a time; return how many."""
    rows = fetch(
        """
        WITH past AS (SELECT (statement_timestamp() AT TIME ZONE 'UTC')::date - 1 AS day), holds AS (
            DELETE FROM orders_tradinglimithold WHERE ctid = ANY(ARRAY(
                SELECT h.ctid FROM orders_tradinglimithold h, past WHERE h.day < past.day
                ORDER BY h.day LIMIT %s FOR UPDATE OF h SKIP LOCKED)) RETURNING 1
        ), uses AS (
            DELETE FROM orders_tradinglimituse u USING past WHERE u.day < past.day
              AND NOT EXISTS (SELECT FROM orders_tradinglimithold h WHERE h.limit_id = u.limit_id AND h.day = u.day)
            RETURNING 1
        )
        SELECT 1 FROM holds UNION ALL SELECT 1 FROM uses
        """,
        DELETED_MAX,
    )
    return len(rows)
