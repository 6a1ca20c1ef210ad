"""Write event and order rows in Postgres, for DBSync and for the commit of an end or an amendment.

Writes are idempotent and may arrive in any order: an existing event row is replaced only if its epoch was lost, an
order row never goes back, and a final status never changes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import DataError, IntegrityError, connection, transaction

from engine.lifecycle import FINAL, Status
from orders.stores import retired
from orders.stores.rows import fetch, recordset
from routing.crashpoints import Store, step
from routing.postgres import is_repeat

FINALS = [status.value for status in FINAL]
UNFILLED = [status.value for status in FINAL - {Status.CONFIRMED}]


@dataclass(frozen=True, slots=True)
class Row:
    """One parsed and validated event: `event` is its JSON, `line` the feed line it came in."""

    wire: "Wire"
    event: str
    line: str


class BadRecord(ValueError):
    """The line is not a valid event; the message says why."""


class Wire(msgspec.Struct, rename="camel"):
    """The fields common to all events, those an order's row stores, and those used for latency metrics."""

    order_id: UUID
    seq: int
    status: Status
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    attempt: int
    epoch: int = 0
    venue: str | None = None
    tx_hash: str | None = None
    type: str | None = None


DECODER = msgspec.json.Decoder(Wire)


def read(line: str) -> Row:
    """Parse one line of the feed: order id, seq, final flag, the event's JSON.

    Raises BadRecord.
    """
    parts = line.split(" ", 3)
    if len(parts) != 4:
        raise BadRecord(f"not `id seq final event`: {len(parts)} parts")
    try:
        wire = DECODER.decode(parts[3])
    except (msgspec.DecodeError, RecursionError) as reason:
        raise BadRecord(str(reason)) from None
    return Row(wire, parts[3], line)


class Stored(NamedTuple):
    """The result of `store`: refused lines with their reasons, and orders with events after their end in Postgres."""

    refused: list[tuple[str, str]]
    behind_end: set[str]


@step("archive", Store.POSTGRES, "events are committed by DBSync")
def store(rows: Sequence[Row], *, new: bool = True) -> Stored:
    """Write rows in one transaction; on an error, bisect the batch to find the rows Postgres refuses.

    With `new`, events that replace others are an error that has the batch written again without it.
    """
    if not rows:
        return Stored([], set())
    try:
        with transaction.atomic():
            pin_plan()
            ahead = update_orders(latest_of(rows))
            behind = stragglers(rows, ahead)
            insert_events([row for row in rows if row.wire.order_id not in behind], new=new)
    except (DataError, IntegrityError) as reason:
        if new and is_repeat(reason):
            return store(rows, new=False)
        if len(rows) == 1:
            return Stored([(rows[0].line, str(reason).strip())], set())
        middle = len(rows) // 2
        first, second = store(rows[:middle], new=new), store(rows[middle:], new=new)
        return Stored(first.refused + second.refused, first.behind_end | second.behind_end)
    late = [row for row in rows if row.wire.order_id in behind]
    ended = {str(row.wire.order_id) for row in late if behind[row.wire.order_id]}
    return Stored(astray([row for row in late if not behind[row.wire.order_id]]), ended)


def write_history(histories: Iterable[Sequence[str]]) -> None:
    """Write the rows and all events of orders that ended or were amended, in the caller's transaction."""
    rows = [Row(DECODER.decode(text), text, "") for texts in histories for text in texts]
    pin_plan()
    update_orders(latest_of(rows))
    insert_events(rows)


def astray(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the events whose order has no row, with the reason; events stored with a retired order are skipped."""
    if not rows:
        return []
    there = retired.seqs({row.wire.order_id for row in rows})
    return [
        (row.line, "its order is archived, without this event" if row.wire.order_id in there else "no such order")
        for row in rows
        if row.wire.seq not in there.get(row.wire.order_id, ())
    ]


def pin_plan() -> None:
    """Force index lookups: on a table that was never analyzed, the planner would scan all of it for every batch."""
    with connection.cursor() as cursor:
        cursor.execute(PINNED)


PINNED = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_mergejoin = off"


FACTS = "- '{orderId,epoch,seq,status,at,attempt}'::text[]"
"""SQL that removes the fields common to all events from an event's JSON."""


GIVEN = "SELECT event FROM jsonb_array_elements(%s) AS event"
"""SQL that unpacks a batch of events."""


INSERT_NEW = f"""
    INSERT INTO orders_orderevent AS known (order_id, epoch, seq, status, at, attempt, facts)
    SELECT * FROM (
        SELECT (event->>'orderId')::uuid AS order_id, coalesce((event->>'epoch')::int, 0) AS epoch,
               (event->>'seq')::int AS seq, event->>'status', (event->>'at')::timestamptz,
               (event->>'attempt')::int, event {FACTS}
        FROM given) AS new
    WHERE NOT EXISTS (
        SELECT FROM orders_orderevent k WHERE k.order_id = new.order_id
          AND (k.seq = new.seq AND k.epoch >= new.epoch
               OR k.seq > 1 AND k.seq < new.seq AND k.epoch > new.epoch)
        OFFSET 0)
    ORDER BY order_id, seq
"""  # noqa: S608 - a constant of this module
"""SQL that inserts the events in `given`: those Postgres has, and those a later epoch replaced, are left out.

It fails if an event replaces one of an earlier epoch, or if another writer inserts it at the same time; INSERT does
not, but has Postgres log one record more for each row.  OFFSET keeps the planner from scanning the whole table at once,
as it would while it was never analyzed.  All writers insert in the same order, so they cannot deadlock.  An existing
row is not locked: that would be logged, and most events that DBSync reads were already committed with an attempt.
"""


INSERT = f"""
    {INSERT_NEW}
    ON CONFLICT (order_id, seq) DO UPDATE SET epoch = excluded.epoch, status = excluded.status,
        at = excluded.at, attempt = excluded.attempt, facts = excluded.facts
    WHERE known.epoch < excluded.epoch AND known.seq > 1
    RETURNING order_id, seq, epoch, xmax <> 0 AS was_there
"""
"""SQL that does the same, and replaces events of earlier epochs."""


def insert_events(rows: Sequence[Row], *, new: bool = False) -> None:
    """Insert events.  An existing event stays, unless its epoch is earlier: then it was lost, and all after it.

    With `new`, none is to be replaced.  Raises IntegrityError if one is.
    """
    # Later epochs last: if the batch has two events for one seq, the one of the later epoch wins.
    standing = sorted(superseded_left_out(rows), key=lambda row: row.wire.epoch)
    once = {(row.wire.order_id, row.wire.seq): row.event for row in standing}
    given = f"[{','.join(once.values())}]"
    if new:
        fetch(f"WITH given AS ({GIVEN}) {INSERT_NEW}", given)
        return
    replaced = fetch(
        f"""
        WITH given AS ({GIVEN}), written AS ({INSERT})
        SELECT order_id, seq, epoch FROM written WHERE was_there
        """,  # noqa: S608 - a constant of this module
        given,
    )
    for order_id, seq, epoch in replaced:
        fetch("DELETE FROM orders_orderevent WHERE order_id = %s AND seq > %s AND epoch < %s", order_id, seq, epoch)


def superseded_left_out(rows: Sequence[Row]) -> list[Row]:
    """Drop events at or after the seq at which a later epoch begins in this batch."""
    first: dict[UUID, dict[int, int]] = defaultdict(dict)
    for wire in (row.wire for row in rows if row.wire.seq > 1):
        first[wire.order_id][wire.epoch] = min(wire.seq, first[wire.order_id].get(wire.epoch, wire.seq))

    def stands(wire: Wire) -> bool:
        return all(wire.seq < seq for epoch, seq in first[wire.order_id].items() if epoch > wire.epoch)

    return [row for row in rows if stands(row.wire)]


def latest_of(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Reduce each order's events to the last one, with the last venue and signature named by any of them."""
    last: dict[UUID, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row.wire.epoch, row.wire.seq)):
        wire = row.wire
        known = last.get(wire.order_id, {})
        last[wire.order_id] = {
            "order_id": wire.order_id,
            "event": msgspec.Raw(row.event.encode()),
            "venue": wire.venue or known.get("venue"),
            "tx_hash": wire.tx_hash or known.get("tx_hash"),
        }
    return [last[order_id] for order_id in sorted(last)]


def update_orders(latest: Sequence[dict[str, Any]]) -> set[UUID]:
    """Update order rows to their last event; return the orders whose rows changed.

    An event of a later epoch is later, whatever its seq; an event written by the previous version names no epoch.
    A row with a final status does not change.
    """
    rows = fetch(
        f"""
        UPDATE orders_order o
        SET status = v.event->>'status', seq = (v.event->>'seq')::int,
            epoch = coalesce((v.event->>'epoch')::int, o.epoch),
            attempt = (v.event->>'attempt')::int, updated_at = (v.event->>'at')::timestamptz, result = v.event {FACTS},
            closed_at = CASE WHEN v.event->>'status' = ANY(%s) THEN coalesce(o.closed_at, now()) ELSE o.closed_at END,
            venue = coalesce(v.venue, o.venue), tx_hash = coalesce(v.tx_hash, o.tx_hash)
        FROM jsonb_to_recordset(%s) AS v(order_id uuid, event jsonb, venue text, tx_hash text)
        WHERE o.id = v.order_id AND o.status <> ALL(%s)
          AND (o.epoch, o.seq) < (coalesce((v.event->>'epoch')::int, o.epoch), (v.event->>'seq')::int)
        RETURNING o.id
        """,  # noqa: S608 - a constant of this module
        UNFILLED,
        recordset(latest),
        FINALS,
    )
    return {order_id for (order_id,) in rows}


def stragglers(rows: Iterable[Row], known: Collection[UUID]) -> dict[UUID, bool]:
    """Return the orders, other than those in `known`, whose events must not be written.

    True if the order had ended in Postgres before these events, which Redis does not know; False if it has no row.
    """
    last: dict[UUID, Wire] = {}
    for row in rows:
        wire = row.wire
        if wire.order_id not in known and (
            wire.order_id not in last or (last[wire.order_id].epoch, last[wire.order_id].seq) < (wire.epoch, wire.seq)
        ):
            last[wire.order_id] = wire
    if not last:
        return {}
    found = {
        order_id: (status, (epoch, seq))
        for order_id, status, epoch, seq in fetch(
            "SELECT id, status, epoch, seq FROM orders_order WHERE id = ANY(%s)", list(last)
        )
    }
    return {
        order_id: order_id in found
        for order_id, wire in last.items()
        if order_id not in found or (found[order_id][0] in FINALS and found[order_id][1] < (wire.epoch, wire.seq))
    }
