"""Attempts in Postgres: recording and reading the chain's decision on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from django.db import DataError, IntegrityError

from engine.lifecycle import AttemptState
from engine.orders import OrderType
from orders.stores import attempts, balances, positions, terms
from orders.stores.rows import fetch, recordset
from routing.chain import Finding
from routing.crashpoints import Store, step

log = structlog.get_logger(__name__)

DECIDED = (AttemptState.LANDED.value, AttemptState.REJECTED.value, AttemptState.EXPIRED.value)
"""The states that the chain decides."""


@dataclass(frozen=True, slots=True)
class Settled:
    """An attempt with the outcome decided by the chain or by its worker, and the data its order's last event needs."""

    order_id: str
    owner: int | None
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
    slot: int
    amount_out: int
    fee_lamports: int
    error_code: str
    error: str
    settled_at: int
    """When the outcome was recorded, epoch ms; 0 while the attempt is open."""
    expected_in: int | None = None
    """What an attempt that pays an exact amount was quoted to take."""


SETTLED_COLUMNS = """
    o.id::text AS order_id, o.owner_id, o.type, o.pair, coalesce(t.amount_in, o.amount_in) AS amount_in, t.number,
    t.tries, t.state, t.venue, t.signature, t.expected_out, t.fee_bps, coalesce(t.slot, 0) AS slot,
    coalesce(t.amount_out, 0) AS amount_out, coalesce(t.fee_lamports, 0) AS fee_lamports,
    t.error_code, t.error, t.settled_at, t.expected_in
"""


def settled_from(row: tuple[Any, ...]) -> Settled:
    (order_id, owner, kind, pair, amount_in, number, tries, state, venue, signature, expected, fee, slot) = row[:13]
    out, lamports, error_code, error, at, expected_in = row[13:19]
    return Settled(
        order_id, owner, OrderType(kind), pair, int(amount_in), number, tries, AttemptState(state), venue, signature,
        int(expected), fee, slot, int(out), lamports, error_code, error, epoch_ms(at),
        None if expected_in is None else int(expected_in),
    )  # fmt: skip


def epoch_ms(at: datetime | None) -> int:
    """Convert a time to epoch milliseconds; None gives 0."""
    return terms.epoch_ms(at) if at else 0


TOOK = "amount_in = CASE WHEN t.expected_in IS NULL THEN t.amount_in ELSE a.amount_in END,"
"""SQL: what an attempt that has landed sold."""

ERROR_CODE_MAX = 40
"""Length of the column for error codes, in characters."""


def settle(state: AttemptState, findings: Sequence[Finding], now: int) -> list[Settled]:
    """Record the chain's decision on open attempts; return the attempts that are now in this state.  Idempotent.

    An attempt that cannot be written does not block the others of its batch.
    """
    try:
        return record(state, [writable(one) for one in findings], now)
    except (DataError, IntegrityError) as reason:
        if len(findings) == 1:
            log.error("attempt cannot be settled", signature=findings[0].signature, reason=str(reason).strip())
            return []
    middle = len(findings) // 2
    return settle(state, findings[:middle], now) + settle(state, findings[middle:], now)


def writable(found: Finding) -> Finding:
    """Make the chain's texts storable in Postgres: replace NULs, and truncate the code to its column."""
    code, error = (text.replace("\0", "\ufffd") for text in (found.error_code, found.error))
    return replace(found, error_code=code[:ERROR_CODE_MAX], error=error)


@step(
    "settle", Store.POSTGRES, "the attempt is committed as", *DECIDED, kind=lambda to, found, now: to if found else ""
)
def record(state: AttemptState, findings: Sequence[Finding], now: int) -> list[Settled]:
    """Record the decision in one statement; what has landed moves its account's positions and balances with it.

    An attempt that paid an exact amount sold what the chain says; any other what it was signed for.

    `now`, epoch ms by the store's clock, is the settlement time unless one is recorded already.  Two workers may settle
    the same attempts concurrently: each locks its rows in id order, so they cannot deadlock.
    """
    if not findings:
        return []
    landed = state is AttemptState.LANDED
    rows = fetch(
        f"""
        WITH found AS MATERIALIZED (
            SELECT t.id, t.state AS before, a.* FROM orders_attempt t
            JOIN json_to_recordset(%s) AS a(signature text, slot bigint, amount_out numeric, fee_lamports bigint,
                                            error_code text, error text, amount_in numeric) USING (signature)
            WHERE t.state = ANY(%s) ORDER BY t.id FOR UPDATE OF t
        ), {positions.COUNTED if landed else ""} settled AS (
            UPDATE orders_attempt t
            SET {TOOK if landed else ""}
                state = '{state.value}', settled_at = coalesce(settled_at, to_timestamp(%s / 1000.0)), slot = a.slot,
                amount_out = a.amount_out, fee_lamports = a.fee_lamports, error_code = a.error_code, error = a.error
                {", position_step = coalesce(n.step, t.position_step)" if landed else ""}
            FROM found a {positions.STEPS if landed else ""}, orders_order o
            WHERE t.id = a.id AND o.id = t.order_id
            RETURNING {SETTLED_COLUMNS}, a.before, o.on_balance, o.amount_in AS reserved
        ){f", {balances.LANDED}" if landed else ""}
        SELECT settled.* FROM settled{f", {balances.ALL_MOVED}" if landed else ""}
        """,  # noqa: S608 - a word of our own enum and constants
        recordset(findings),
        [*attempts.OPEN, state.value],
        now,
        *(balances.funding() if landed else ()),
    )
    return [settled_from(row) for row in rows]


def by_signature(signatures: Sequence[str]) -> list[Settled]:
    """Return these attempts in any state."""
    if not signatures:
        return []
    rows = fetch(
        f"""
        SELECT {SETTLED_COLUMNS} FROM orders_attempt t JOIN orders_order o ON o.id = t.order_id
        WHERE t.signature = ANY(%s)
        """,  # noqa: S608 - a constant of this module
        list(signatures),
    )
    return [settled_from(row) for row in rows]
