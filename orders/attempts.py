"""Attempts in Postgres: committed before they are sent, and at most one per order open or landed.

The partial unique index `one_open_or_landed_attempt_per_order` holds that whatever the code believes.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import transaction

from engine.lifecycle import HOLDING_ATTEMPT, OPEN_ATTEMPT, AttemptState
from engine.orders import OrderType
from orders.rows import as_bytea, fetch, recordset
from routing.chain import Finding

OPEN = [state.value for state in OPEN_ATTEMPT]
HOLDING = [state.value for state in HOLDING_ATTEMPT]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One signed transaction; `seq` is that of the order's `submitted` event for it, amounts in base units."""

    order_id: str
    number: int
    venue: str
    signature: str
    raw: bytes
    last_valid_height: int
    expected_out: int
    minimum_out: int
    fee_bps: int
    seq: int
    trail: tuple[str, ...]
    state: AttemptState
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Settled:
    """An attempt the chain has decided, with what its order's last event needs."""

    order_id: str
    type: OrderType
    pair: str
    amount_in: int
    number: int
    tries: int
    state: AttemptState
    venue: str
    signature: str
    expected_out: int
    fee_bps: int
    seq: int
    slot: int
    amount_out: int
    fee_lamports: int
    error_code: str
    error: str


def prepare(attempts: Sequence[Prepared]) -> set[str]:
    """Commit attempts; return the ids of orders whose attempt stands.  The others have one already, or are closed."""
    if not attempts:
        return set()
    rows = fetch(
        """
        WITH asked AS (
            SELECT * FROM json_to_recordset(%s) AS a(
                order_id uuid, number int, tries int, venue text, signature text, raw bytea, last_valid_height bigint,
                expected_out numeric, minimum_out numeric, fee_bps int, seq int, trail jsonb)
        ), open_orders AS (
            -- Waits for a `closing` under way, and then reads the row anew.
            SELECT id FROM orders_order WHERE id IN (SELECT order_id FROM asked) AND closed_at IS NULL
            ORDER BY id FOR KEY SHARE
        )
        INSERT INTO orders_attempt (order_id, number, tries, state, venue, signature, raw, last_valid_height,
                                    expected_out, minimum_out, fee_bps, seq, trail)
        SELECT order_id, number, tries, 'prepared', venue, signature, raw, last_valid_height,
               expected_out, minimum_out, fee_bps, seq, trail
        FROM asked JOIN open_orders ON open_orders.id = asked.order_id
        ON CONFLICT DO NOTHING
        RETURNING order_id::text
        """,
        recordset(as_row(attempt) for attempt in attempts),
    )
    return {order_id for (order_id,) in rows}


@dataclass(slots=True)
class Closing:
    """Orders being closed; `shut` have no attempt open or landed, and can have none while this goes on."""

    shut: set[str]
    newly: set[str]

    def reopen(self, order_ids: Collection[str]) -> None:
        """Leave open, of those that were, the orders that did not end after all."""
        back = [order_id for order_id in order_ids if order_id in self.newly]
        if back:
            fetch("UPDATE orders_order SET closed_at = NULL WHERE id = ANY(%s::uuid[])", back)


@contextmanager
def closing(order_ids: Sequence[str]) -> Iterator[Closing]:
    """See to it that these orders never have another attempt, once this ends; meanwhile nobody can commit one.

    A worker that lost its lease long ago may still be about to commit one; only Postgres can stop it.
    """
    with transaction.atomic():
        # Two statements: only a new one sees what a `prepare` committed while this one waited for its lock.
        locked = fetch(
            "SELECT id::text FROM orders_order WHERE id = ANY(%s::uuid[]) AND closed_at IS NULL ORDER BY id FOR UPDATE",
            list(order_ids),
        )
        rows = fetch(
            """
            UPDATE orders_order o SET closed_at = coalesce(closed_at, now())
            WHERE id = ANY(%s::uuid[]) AND NOT EXISTS (
                SELECT 1 FROM orders_attempt t WHERE t.order_id = o.id AND t.state = ANY(%s))
            RETURNING id::text
            """,
            list(order_ids),
            HOLDING,
        )
        shut = {order_id for (order_id,) in rows}
        yield Closing(shut, {order_id for (order_id,) in locked} & shut)


def as_row(attempt: Prepared) -> dict[str, Any]:
    """Write an attempt for its table."""
    return {
        "order_id": attempt.order_id,
        "number": attempt.number,
        "tries": attempt.tries,
        "venue": attempt.venue,
        "signature": attempt.signature,
        "raw": as_bytea(attempt.raw),
        "last_valid_height": attempt.last_valid_height,
        "expected_out": attempt.expected_out,
        "minimum_out": attempt.minimum_out,
        "fee_bps": attempt.fee_bps,
        "seq": attempt.seq,
        "trail": as_json_array(attempt.trail),
    }


def as_json_array(events: Sequence[str]) -> msgspec.Raw:
    """Join JSON texts into one JSON array."""
    return msgspec.Raw(f"[{','.join(events)}]".encode())


def mark_sent(signatures: Sequence[str]) -> None:
    """Note that the bytes were broadcast, now."""
    fetch(
        """
        UPDATE orders_attempt SET state = 'sent', sent_at = now(), sends = sends + 1
        WHERE signature = ANY(%s) AND state = ANY(%s)
        """,
        list(signatures),
        OPEN,
    )


def holding(order_ids: Sequence[str]) -> dict[str, Prepared]:
    """Return the open or landed attempt of each order that has one."""
    if not order_ids:
        return {}
    rows = fetch(
        """
        SELECT order_id::text, number, venue, signature, raw, last_valid_height, expected_out, minimum_out, fee_bps,
               seq, state
        FROM orders_attempt WHERE order_id = ANY(%s::uuid[]) AND state = ANY(%s)
        """,
        list(order_ids),
        HOLDING,
    )
    return {
        r[0]: Prepared(
            r[0], r[1], r[2], r[3], bytes(r[4]), r[5], int(r[6]), int(r[7]), r[8], r[9], (), AttemptState(r[10])
        )
        for r in rows
    }


def take_over(attempts: Sequence[Prepared]) -> None:
    """Record where in its order's life each attempt now stands."""
    if attempts:
        fetch(
            """
            UPDATE orders_attempt t SET seq = a.seq, trail = a.trail
            FROM json_to_recordset(%s) AS a(signature text, seq int, trail jsonb) WHERE t.signature = a.signature
            """,
            recordset({"signature": a.signature, "seq": a.seq, "trail": as_json_array(a.trail)} for a in attempts),
        )


SETTLED_COLUMNS = """
    o.id::text, o.type, o.pair, o.amount_in, t.number, t.tries, t.state, t.venue, t.signature, t.expected_out,
    t.fee_bps, t.seq, coalesce(t.slot, 0), coalesce(t.amount_out, 0), coalesce(t.fee_lamports, 0),
    t.error_code, t.error
"""


def settled_from(row: tuple[Any, ...]) -> Settled:
    """Read SETTLED_COLUMNS."""
    (order_id, kind, pair, amount_in, number, tries, state, venue, signature, expected, fee, seq, slot) = row[:13]
    out, lamports, error_code, error = row[13:]
    return Settled(
        order_id, OrderType(kind), pair, int(amount_in), number, tries, AttemptState(state), venue, signature,
        int(expected), fee, seq, slot, int(out), lamports, error_code, error,
    )  # fmt: skip


def settle(state: AttemptState, findings: Sequence[Finding]) -> list[Settled]:
    """Record the chain's decision on open attempts; harmless twice.  Return the attempts that now stand so.

    Two workers may have found the same: each locks its rows in the order of their ids, so neither waits for the other
    while the other waits for it.
    """
    if not findings:
        return []
    rows = fetch(
        f"""
        WITH found AS MATERIALIZED (
            SELECT t.id, a.* FROM orders_attempt t
            JOIN json_to_recordset(%s) AS a(signature text, slot bigint, amount_out numeric, fee_lamports bigint,
                                            error_code text, error text) USING (signature)
            WHERE t.state = ANY(%s) ORDER BY t.id FOR UPDATE OF t)
        UPDATE orders_attempt t
        SET state = '{state.value}', settled_at = coalesce(settled_at, now()), slot = a.slot,
            amount_out = a.amount_out, fee_lamports = a.fee_lamports, error_code = a.error_code, error = a.error
        FROM found a, orders_order o
        WHERE t.id = a.id AND o.id = t.order_id
        RETURNING {SETTLED_COLUMNS}
        """,  # noqa: S608 - a word of our own enum and a constant of this module
        recordset(findings),
        [*OPEN, state.value],
    )
    return [settled_from(row) for row in rows]


def latest(order_ids: Sequence[str]) -> list[Settled]:
    """Return the last attempt of each order, whatever its state."""
    rows = fetch(
        f"""
        SELECT DISTINCT ON (t.order_id) {SETTLED_COLUMNS}
        FROM orders_attempt t JOIN orders_order o ON o.id = t.order_id
        WHERE t.order_id = ANY(%s::uuid[]) ORDER BY t.order_id, t.id DESC
        """,  # noqa: S608 - a constant of this module
        list(order_ids),
    )
    return [settled_from(row) for row in rows]


def unsettled(older_than_ms: int, limit: int) -> list[tuple[str, bytes, int]]:
    """Take open attempts last sent longer ago than that: (signature, bytes, last valid height).

    Each is put off by its new `sent_at`, so that replicas share them.
    """
    rows = fetch(
        """
        UPDATE orders_attempt SET sent_at = now() WHERE id IN (
            SELECT id FROM orders_attempt
            WHERE state IN ('prepared', 'sent') AND sent_at < now() - %s * interval '1 millisecond'
            ORDER BY sent_at LIMIT %s FOR UPDATE SKIP LOCKED)
        RETURNING signature, raw, last_valid_height
        """,
        older_than_ms,
        limit,
    )
    return [(signature, bytes(raw), height) for signature, raw, height in rows]
