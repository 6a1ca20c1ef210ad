"""DBSync: every event from the feed in Redis to rows in Postgres, in bulk, and the orders' rows with them.

The feed is read through a consumer group, so an entry whose reader died is taken over by another.  Writing is harmless
twice: an event row that exists is left, an order row never goes back to an earlier seq.
"""

import os
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
import structlog
from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction
from redis.exceptions import ResponseError

from engine.lifecycle import FINAL, Status
from orders import dispatch, live
from orders.models import SetAside
from orders.rows import fetch
from routing.store import redis

log = structlog.get_logger(__name__)

GROUP = "dbsync"
NUDGED = "dbsync:nudged"
ENTRIES = 200
"""Feed entries of one round; each holds the events of one batch."""
EVENTS = 2_000
"""Event rows in one statement."""
TAKE_OVER_MS = 10_000
"""How long an entry may stay with a reader that does not finish it."""
READER = f"{socket.gethostname()}-{os.getpid()}"
RECORD_MAX = 100_000
"""Characters kept of a record that is set aside."""

draining = threading.Lock()


@dataclass(frozen=True, slots=True)
class Row:
    """One event, read and checked: `event` is its JSON, `line` the feed's line it came in."""

    order_id: UUID
    seq: int
    status: Status
    event: str
    line: str


class BadRecord(ValueError):
    """This is not an event; the message says why."""


class Wire(msgspec.Struct, rename="camel"):
    """The part of an event that every event has."""

    order_id: UUID
    seq: int
    status: Status
    at: datetime
    attempt: int


COMMON = ("orderId", "seq", "status", "at", "attempt")
DECODER = msgspec.json.Decoder(Wire)


def nudge() -> None:
    """Wake DBSync, unless it has been woken and has not begun yet."""
    if redis().set(NUDGED, "1", nx=True, px=1_000):
        dispatch.send(dispatch.DRAIN)


def drain() -> int:
    """Write the feed to Postgres until it is empty; return how many events were read."""
    # A second drain in this process would only contend with the first, which looks at the nudge again before it ends.
    if not draining.acquire(blocking=False):
        return 0
    try:
        return sum(drain_round(entries) for entries in rounds())
    finally:
        draining.release()


def rounds() -> Iterator[list[tuple[str, dict[str, str]]]]:
    """Yield batches of feed entries: first those a dead reader left, then new ones until none are left."""
    ensure_group()
    _, abandoned, *_ = redis().xautoclaim(live.FEED, GROUP, READER, TAKE_OVER_MS, count=ENTRIES)
    if abandoned:
        yield abandoned
    while True:
        redis().delete(NUDGED)
        answer = redis().xreadgroup(GROUP, READER, {live.FEED: ">"}, count=ENTRIES)
        if not answer:
            return
        yield answer[0][1]


def ensure_group() -> None:
    """Create the consumer group when the feed is new or was emptied."""
    try:
        redis().xgroup_create(live.FEED, GROUP, id="0", mkstream=True)
    except ResponseError as reason:
        if "BUSYGROUP" not in str(reason):
            raise


def drain_round(entries: Sequence[tuple[str, dict[str, str]]]) -> int:
    """Write one round of entries, then acknowledge them."""
    texts = [line for _, fields in entries for line in fields.get("b", "").split("\n")]
    write(texts)
    redis().xack(live.FEED, GROUP, *(entry_id for entry_id, _ in entries))
    return len(texts)


def write(lines: Iterable[str]) -> None:
    """Write feed lines; one that cannot be read or stored is set aside with its reason and stops nothing."""
    rows, bad = [], []
    for line in lines:
        try:
            rows.append(read(line))
        except BadRecord as reason:
            bad.append((line, str(reason)))
    for start in range(0, len(rows), EVENTS):
        bad += store(rows[start : start + EVENTS])
    set_aside(bad)
    kept = {line for line, _ in bad}
    finished = {str(row.order_id) for row in rows if row.status in FINAL and row.line not in kept}
    live.forget(finished, settings.ORDER_LIVE_TTL_S)


def read(line: str) -> Row:
    """Read one line of the feed: id, seq, whether final, the event's JSON.

    Raises BadRecord.
    """
    parts = line.split(" ", 3)
    if len(parts) != 4:
        raise BadRecord(f"not `id seq final event`: {len(parts)} parts")
    try:
        wire = DECODER.decode(parts[3])
    except (msgspec.DecodeError, UnicodeEncodeError) as reason:
        raise BadRecord(str(reason)) from None
    # Postgres' jsonb holds no NUL character.
    if "\\u0000" in parts[3]:
        raise BadRecord("holds a NUL character, which jsonb refuses")
    return Row(wire.order_id, wire.seq, wire.status, parts[3], line)


def store(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Write rows in one transaction; return those Postgres refuses, found by halving, with its reason."""
    if not rows:
        return []
    try:
        with transaction.atomic():
            pin_plan()
            insert_events(rows)
            update_orders(latest_of(rows))
    except (DataError, IntegrityError) as reason:
        if len(rows) == 1:
            return [(rows[0].line, str(reason).strip())]
        middle = len(rows) // 2
        return store(rows[:middle]) + store(rows[middle:])
    return []


def pin_plan() -> None:
    """Keep to index look-ups: on a table never analysed the planner would read all of it for every batch."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_mergejoin = off")


EVENT = """
    SELECT (e->>'orderId')::uuid AS order_id, (e->>'seq')::int AS seq, e->>'status' AS status,
           (e->>'at')::timestamptz AS at, (e->>'attempt')::int AS attempt,
           e - '{orderId,seq,status,at,attempt}'::text[] AS facts
    FROM jsonb_array_elements(%s) AS e
"""


def document(rows: Iterable[Row]) -> str:
    """Join events into one JSON array."""
    return f"[{','.join(row.event for row in rows)}]"


def insert_events(rows: Sequence[Row]) -> None:
    """Insert events; one that is there stays as it is."""
    fetch(
        f"""
        INSERT INTO orders_orderevent (order_id, seq, status, at, attempt, facts)
        SELECT order_id, seq, status, at, attempt, facts FROM ({EVENT}) v ON CONFLICT DO NOTHING
        """,  # noqa: S608 - a constant of this module
        document(rows),
    )


def latest_of(rows: Iterable[Row]) -> list[Row]:
    """Keep the last event of each order."""
    last: dict[UUID, Row] = {}
    for row in rows:
        if row.order_id not in last or last[row.order_id].seq < row.seq:
            last[row.order_id] = row
    return list(last.values())


def update_orders(rows: Sequence[Row]) -> None:
    """Bring order rows up to their last event."""
    fetch(
        f"""
        UPDATE orders_order o
        SET status = v.status, seq = v.seq, attempt = v.attempt, updated_at = v.at, result = v.facts,
            venue = coalesce(v.facts->>'venue', o.venue), tx_hash = coalesce(v.facts->>'txHash', o.tx_hash)
        FROM ({EVENT}) v WHERE o.id = v.order_id AND o.seq < v.seq
        """,  # noqa: S608 - a constant of this module
        document(rows),
    )


def set_aside(bad: Sequence[tuple[str, str]]) -> None:
    """Keep records that could not be written, with the reason."""
    for line, reason in bad:
        log.error("record set aside", record=line[:500], reason=reason)
    SetAside.objects.bulk_create(
        SetAside(record=line[:RECORD_MAX].replace("\0", "\\0"), reason=reason) for line, reason in bad
    )


def backlog() -> int:
    """Count feed entries not yet written."""
    try:
        groups = redis().xinfo_groups(live.FEED)
    except ResponseError:
        return 0
    ours = [group for group in groups if group["name"] == GROUP]
    return sum((group["lag"] or 0) + group["pending"] for group in ours)
