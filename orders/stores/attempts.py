"""Attempts in Postgres: the compare-and-set steps that a signed transaction passes before it is broadcast.

1. The attempt is committed as *prepared*, with the terms it was built on and the order's events so far.
2. Its order is moved to `submitted` under the worker's fence (orders/flow/execution.py).
3. The attempt is committed as *sent*; exactly one caller wins this update.
4. That caller broadcasts the bytes.

A worker that loses step 2 withdraws the attempt: a prepared attempt has not been sent, and a withdrawn one never is.
Step 3 also reads what operators have halted: from the moment a halt is committed, no attempt that it covers is sent.

The partial unique index `one_open_or_landed_attempt` guarantees at most one per order, whatever the code does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from django.db import DataError, IntegrityError

from engine.lifecycle import OPEN_ATTEMPT, AttemptState
from orders.models import BUYS_SQL, MOVING_SQL
from orders.stores import event_rows
from orders.stores.rows import as_bytea, fetch, fetch_new, recordset
from routing.crashpoints import Store, step

log = structlog.get_logger(__name__)

OPEN = [state.value for state in OPEN_ATTEMPT]


class Prepared(msgspec.Struct, frozen=True):
    """One signed transaction; amounts are in base units.

    With `expected_in` it pays exactly `minimum_out` and takes at most `amount_in`; its row states what it took, later.
    `epoch`, `seq` and `at` are those of the order's `submitted` event for it; `told` are the order's events between the
    first and that one.
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
    epoch: int
    seq: int
    at: int
    """Time at which its order is submitted, epoch ms."""
    told: tuple[str, ...]
    tries: int = 1
    expected_in: int | None = None


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
    rows = fetch_new(statement, "ON CONFLICT DO NOTHING", recordset(as_row(attempt) for attempt in attempts))
    return {order_id for (order_id,) in rows}


def statement(on_conflict: str) -> str:
    """Return the SQL that commits attempts, with a clause for orders that have one already."""
    return f"""
        WITH asked AS (
            SELECT * FROM json_to_recordset(%s) AS a(
                order_id uuid, number int, tries int, venue text, signature text, raw bytea, last_valid_height bigint,
                expected_out numeric, minimum_out numeric, fee_bps int, amount_in numeric, expected_in numeric,
                limit_price numeric, terms_seq int, epoch int, seq int, at bigint, told jsonb)
        ), open_orders AS (
            -- Waits for an end or an amendment under way (decisions.commit), and then reads the row anew.
            SELECT o.id FROM orders_order o JOIN asked ON asked.order_id = o.id
            WHERE o.closed_at IS NULL AND o.terms_seq = asked.terms_seq
            ORDER BY o.id FOR KEY SHARE OF o
        ), made AS (
            INSERT INTO orders_attempt (order_id, number, tries, state, venue, signature, raw, last_valid_height,
                                        expected_out, minimum_out, fee_bps, amount_in, expected_in, limit_price,
                                        terms_seq, epoch, seq, submitted_at)
            SELECT order_id, number, tries, 'prepared', venue, signature, raw, last_valid_height,
                   expected_out, minimum_out, fee_bps, amount_in, expected_in, limit_price, terms_seq,
                   epoch, seq, to_timestamp(at / 1000.0)
            FROM asked JOIN open_orders ON open_orders.id = asked.order_id
            {on_conflict}
            RETURNING order_id
        ), given AS (
            SELECT event FROM made JOIN asked USING (order_id), jsonb_array_elements(asked.told) AS event
        ), kept AS (
            {event_rows.INSERT if on_conflict else event_rows.INSERT_NEW}
        )
        SELECT order_id::text FROM made
        """  # noqa: S608 - constants of our own


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
        "expected_in": attempt.expected_in,
        "limit_price": attempt.limit_price,
        "terms_seq": attempt.terms_seq,
        "epoch": attempt.epoch,
        "seq": attempt.seq,
        "at": attempt.at,
        "told": msgspec.Raw(f"[{','.join(attempt.told)}]".encode()),
    }


HALTED = f"""
    (EXISTS (SELECT FROM orders_pause WHERE state <> 'paused')
    AND EXISTS (SELECT FROM orders_pause p, orders_order o WHERE o.id = t.order_id
        AND CASE p.scope WHEN 'everything' THEN true WHEN 'venue' THEN p.name = t.venue WHEN 'pair' THEN p.name = o.pair
                         WHEN 'user' THEN p.subject = o.owner_id ELSE false END
        AND (p.state = 'halted' OR (p.state = 'reducing' AND {BUYS_SQL}))))
"""  # noqa: S608 - constants
"""SQL: whether a halt covers the attempt `t`. The first half, read once per statement, keeps the usual case free.

Orders placed before their token was listed name it by its mint here; their pair's halt stops them in `eligibility`.
"""


@step("sent", Store.POSTGRES, "the attempt is committed as sent")
def mark_sent(signatures: Sequence[str]) -> set[str]:
    """Commit prepared attempts as sent; return those this caller won: it alone must now broadcast their bytes.

    Those under a halt stay prepared: this is the last moment at which none of their bytes can have left.
    """
    return changed(
        f"""
        UPDATE orders_attempt t SET state = 'sent', sent_at = now(), sends = 1
        FROM (SELECT id FROM orders_attempt WHERE signature = ANY(%s) ORDER BY id FOR UPDATE) AS f
        WHERE t.id = f.id AND t.state = 'prepared' AND NOT {HALTED} RETURNING t.signature
        """,  # noqa: S608 - a constant of this module
        signatures,
    )


def halted(signatures: Sequence[str]) -> set[str]:
    """Return those of these attempts that a halt covers."""
    sql = f"SELECT t.signature FROM orders_attempt t WHERE t.signature = ANY(%s) AND {HALTED}"  # noqa: S608 - constant
    return {signature for (signature,) in fetch(sql, list(signatures))}


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


@step("resent", Store.POSTGRES, "another broadcast is recorded")
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
        WHERE order_id = ANY(%s::uuid[]) AND error_code = ''
        """,
        list(order_ids),
    )
    return [Held(order_id, signature, AttemptState(state)) for order_id, signature, state in rows]


def last_sent(order_ids: Sequence[str]) -> dict[str, str]:
    """Return the signature of each order's last attempt, whatever has become of it, unless it was never sent."""
    if not order_ids:
        return {}
    rows = fetch(
        """
        SELECT DISTINCT ON (order_id) order_id::text, signature FROM orders_attempt
        WHERE order_id = ANY(%s::uuid[]) AND state NOT IN ('prepared', 'withdrawn') ORDER BY order_id, number DESC
        """,
        list(order_ids),
    )
    return dict(rows)


OF_MOVING_ORDERS = f"""
    SELECT t.* FROM (SELECT id FROM orders_order WHERE {MOVING_SQL}) o, LATERAL (
        SELECT id, order_id, signature, raw, state, sent_at FROM orders_attempt t
        WHERE t.order_id = o.id AND t.error_code = '' OFFSET 0
    ) t
"""  # noqa: S608 - a constant of the models
"""SQL that finds open attempts by their orders, which are unfinished and do not rest.

An index of open attempts would have to be written twice for each.  An order whose row lags behind Redis, and still says
that it rests, is missed until DBSync has written its row; reconciliation sees to that.
"""


@step("audit", Store.POSTGRES, "open attempts are reserved for this caller")
def unsettled(older_than_ms: int, limit: int) -> list[tuple[str, bytes, int]]:
    """Take sent attempts whose last broadcast is older than `older_than_ms`: (signature, bytes, last valid height).

    Each gets a new `sent_at`, which postpones its next turn, so that replicas share the work.
    """
    rows = fetch(
        f"""
        UPDATE orders_attempt SET sent_at = now() WHERE id IN (
            SELECT id FROM orders_attempt WHERE state = 'sent' AND id = ANY(ARRAY(
                SELECT id FROM ({OF_MOVING_ORDERS}) AS held
                WHERE state = 'sent' AND sent_at < now() - %s * interval '1 millisecond'
                ORDER BY sent_at LIMIT %s))
            FOR UPDATE SKIP LOCKED)
        RETURNING signature, raw, last_valid_height
        """,  # noqa: S608 - a constant of this module
        older_than_ms,
        limit,
    )
    return [(signature, bytes(raw), height) for signature, raw, height in rows]


def left_prepared(older_than_ms: int, limit: int) -> list[tuple[str, str, bytes]]:
    """Return attempts neither sent nor withdrawn within `older_than_ms`: (order id, signature, bytes)."""
    rows = fetch(
        f"""
        SELECT order_id::text, signature, raw FROM ({OF_MOVING_ORDERS}) AS held
        WHERE state = 'prepared' AND sent_at < now() - %s * interval '1 millisecond'
        ORDER BY sent_at LIMIT %s
        """,  # noqa: S608 - a constant of this module
        older_than_ms,
        limit,
    )
    return [(order_id, signature, bytes(raw)) for order_id, signature, raw in rows]
