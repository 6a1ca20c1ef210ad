"""Attempts in Postgres: the compare-and-set steps that a signed transaction passes before it is broadcast.

1. The attempt is committed as *prepared*, with the terms it was built on.
2. Its order is moved to `submitted` under the worker's fence (orders/flow/execution.py).
3. The attempt is committed as *sent*; exactly one caller wins this update.
4. That caller broadcasts the bytes.

A worker that loses step 2 withdraws the attempt: a prepared attempt has not been sent, and a withdrawn one never is.

The partial unique index `one_open_or_landed_attempt_per_order` guarantees at most one such attempt per order,
independently of the code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from django.db import DataError, IntegrityError

from engine.lifecycle import OPEN_ATTEMPT, AttemptState
from orders.stores.rows import as_bytea, fetch, recordset
from routing.crashpoints import Store, step

log = structlog.get_logger(__name__)

OPEN = [state.value for state in OPEN_ATTEMPT]


class Prepared(msgspec.Struct, frozen=True):
    """One signed transaction; amounts are in base units.

    `seq` is the seq of the order's `submitted` event for it, `trail` the order's events from the second to that one.
    """

    order_id: str
    number: int
    venue: str
    signature: str
    raw: bytes
    last_valid_height: int
    expected_out: int
    minimum_out: int
    fee_bps: int
    amount_in: int
    limit_price: str | None
    terms_seq: int
    seq: int
    trail: tuple[str, ...]
    at: int
    """Time at which its order is submitted, epoch ms."""
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """Orders whose attempts are committed (`stands`), and those Postgres cannot write, with its reason (`faulty`).

    Orders in neither already have an attempt, have ended, or have different terms by now.
    """

    stands: set[str]
    faulty: dict[str, str]


def prepare(attempts: Sequence[Prepared]) -> Outcome:
    """Commit attempts; one that cannot be written does not block the others of its batch."""
    if not attempts:
        return Outcome(set(), {})
    try:
        return Outcome(insert(attempts), {})
    except (DataError, IntegrityError) as reason:
        if len(attempts) == 1:
            return Outcome(set(), {attempts[0].order_id: str(reason).strip()})
    middle = len(attempts) // 2
    first, second = prepare(attempts[:middle]), prepare(attempts[middle:])
    return Outcome(first.stands | second.stands, first.faulty | second.faulty)


@step("prepare", Store.POSTGRES, "the attempt is committed as prepared")
def insert(attempts: Sequence[Prepared]) -> set[str]:
    """Commit attempts in one statement; return the ids of the orders that got one."""
    rows = fetch(
        """
        WITH asked AS (
            SELECT * FROM json_to_recordset(%s) AS a(
                order_id uuid, number int, tries int, venue text, signature text, raw bytea, last_valid_height bigint,
                expected_out numeric, minimum_out numeric, fee_bps int, amount_in numeric, limit_price numeric,
                terms_seq int, seq int, trail jsonb)
        ), open_orders AS (
            -- Waits for an end or an amendment under way (decisions.commit), and then reads the row anew.
            SELECT o.id FROM orders_order o JOIN asked ON asked.order_id = o.id
            WHERE o.closed_at IS NULL AND o.terms_seq = asked.terms_seq
            ORDER BY o.id FOR KEY SHARE OF o
        )
        INSERT INTO orders_attempt (order_id, number, tries, state, venue, signature, raw, last_valid_height,
                                    expected_out, minimum_out, fee_bps, amount_in, limit_price, terms_seq, seq, trail)
        SELECT order_id, number, tries, 'prepared', venue, signature, raw, last_valid_height,
               expected_out, minimum_out, fee_bps, amount_in, limit_price, terms_seq, seq, trail
        FROM asked JOIN open_orders ON open_orders.id = asked.order_id
        ON CONFLICT DO NOTHING
        RETURNING order_id::text
        """,
        recordset(as_row(attempt) for attempt in attempts),
    )
    return {order_id for (order_id,) in rows}


def as_row(attempt: Prepared) -> dict[str, Any]:
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
        "amount_in": attempt.amount_in,
        "limit_price": attempt.limit_price,
        "terms_seq": attempt.terms_seq,
        "seq": attempt.seq,
        "trail": msgspec.Raw(f"[{','.join(attempt.trail)}]".encode()),
    }


@step("sent", Store.POSTGRES, "the attempt is committed as sent")
def mark_sent(signatures: Sequence[str]) -> set[str]:
    """Commit prepared attempts as sent; return those this caller won: it alone must now broadcast their bytes."""
    return changed(
        """
        UPDATE orders_attempt t SET state = 'sent', sent_at = now(), sends = 1
        FROM (SELECT id FROM orders_attempt WHERE signature = ANY(%s) ORDER BY id FOR UPDATE) AS f
        WHERE t.id = f.id AND t.state = 'prepared' RETURNING t.signature
        """,
        signatures,
    )


@step("withdraw", Store.POSTGRES, "the attempt is withdrawn")
def withdraw(signatures: Sequence[str]) -> set[str]:
    """Withdraw prepared attempts; return the withdrawn ones, none of which is ever sent."""
    return changed(
        """
        UPDATE orders_attempt t SET state = 'withdrawn', settled_at = now()
        FROM (SELECT id FROM orders_attempt WHERE signature = ANY(%s) ORDER BY id FOR UPDATE) AS f
        WHERE t.id = f.id AND t.state = 'prepared' RETURNING t.signature
        """,
        signatures,
    )


@step("resent", Store.POSTGRES, "another broadcast is noted")
def note_resent(signatures: Sequence[str]) -> None:
    """Record that the bytes of sent attempts were broadcast again."""
    changed(
        """
        UPDATE orders_attempt t SET sent_at = now(), sends = sends + 1
        FROM (SELECT id FROM orders_attempt WHERE signature = ANY(%s) ORDER BY id FOR UPDATE) AS f
        WHERE t.id = f.id AND t.state = 'sent' RETURNING t.signature
        """,
        signatures,
    )


def changed(statement: str, signatures: Sequence[str]) -> set[str]:
    """Run an update that locks its rows in id order, as every writer here does; return the changed signatures."""
    if not signatures:
        return set()
    return {signature for (signature,) in fetch(statement, list(signatures))}


@dataclass(frozen=True, slots=True)
class Held:
    """The one attempt of an order that is open or landed."""

    order_id: str
    signature: str
    state: AttemptState


def holding(order_ids: Sequence[str]) -> list[Held]:
    """Return the open or landed attempts of these orders."""
    if not order_ids:
        return []
    rows = fetch(
        """
        SELECT order_id::text, signature, state FROM orders_attempt
        WHERE order_id = ANY(%s::uuid[]) AND state IN ('prepared', 'sent', 'landed')
        """,
        list(order_ids),
    )
    return [Held(order_id, signature, AttemptState(state)) for order_id, signature, state in rows]


@step("audit", Store.POSTGRES, "open attempts are this caller's to look at")
def unsettled(older_than_ms: int, limit: int) -> list[tuple[str, bytes, int]]:
    """Take sent attempts whose last broadcast is older than `older_than_ms`: (signature, bytes, last valid height).

    Each gets a new `sent_at`, which postpones its next turn, so that replicas share the work.
    """
    rows = fetch(
        """
        UPDATE orders_attempt SET sent_at = now() WHERE id IN (
            SELECT id FROM orders_attempt
            WHERE state IN ('prepared', 'sent') AND state = 'sent'
              AND sent_at < now() - %s * interval '1 millisecond'
            ORDER BY sent_at LIMIT %s FOR UPDATE SKIP LOCKED)
        RETURNING signature, raw, last_valid_height
        """,
        older_than_ms,
        limit,
    )
    return [(signature, bytes(raw), height) for signature, raw, height in rows]


def left_prepared(older_than_ms: int, limit: int) -> list[tuple[str, str, bytes]]:
    """Return attempts neither sent nor withdrawn within `older_than_ms`: (order id, signature, bytes)."""
    rows = fetch(
        """
        SELECT order_id::text, signature, raw FROM orders_attempt
        WHERE state IN ('prepared', 'sent') AND state = 'prepared' AND sent_at < now() - %s * interval '1 millisecond'
        ORDER BY sent_at LIMIT %s
        """,
        older_than_ms,
        limit,
    )
    return [(order_id, signature, bytes(raw)) for order_id, signature, raw in rows]
