"""DBSync: every event from the feed in Redis to rows in Postgres, in bulk, and the orders' rows with them.

The feed is read through a consumer group, so an entry whose reader died is taken over by another.  Writing is harmless
twice: an event row that exists is left, an order row never goes back to an earlier seq.
"""

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

import msgspec
import structlog
from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, connection, transaction
from redis.exceptions import ResponseError

from engine.lifecycle import FINAL, Status
from orders import dispatch, live, observe, past, terms, traces
from orders.lines import about, named
from orders.models import SetAside
from orders.rows import fetch, recordset
from routing.group import Entry, Group, me, refuse_unless_emptied
from routing.store import now_ms, redis

log = structlog.get_logger(__name__)

GROUP = "dbsync"
NUDGED = "dbsync:nudged"

group = Group(live.FEED, GROUP)
EVENTS = 2_000
"""Event rows in one statement."""
KEEP_MS = 5_000
"""How long written entries stay for the servers, which read the feed too; a slower one reads the orders' own events."""
TRIM_EVERY_S = 0.5
RECORD_MAX = 100_000
"""Characters kept of a record that is set aside."""

FINALS = [status.value for status in FINAL]
UNFILLED = [status.value for status in FINAL - {Status.CONFIRMED}]

draining = threading.Lock()
wanted = threading.Event()
trimmed_at = float("-inf")


@dataclass(frozen=True, slots=True)
class Row:
    """One event, read and checked: `event` is its JSON, `line` the feed's line it came in."""

    wire: "Wire"
    event: str
    line: str


class BadRecord(ValueError):
    """This is not an event; the message says why."""


class Wire(msgspec.Struct, rename="camel"):
    """The part of an event that every event has, the facts that an order's row keeps, and those it is timed by."""

    order_id: UUID
    seq: int
    status: Status
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    attempt: int
    venue: str | None = None
    tx_hash: str | None = None
    type: str | None = None
    amended: dict[str, Any] | None = None


COMMON = ("orderId", "seq", "status", "at", "attempt")
DECODER = msgspec.json.Decoder(Wire)


def nudge() -> None:
    """Wake DBSync, unless it has been woken and has not begun yet."""
    if redis().set(NUDGED, "1", nx=True, px=1_000):
        dispatch.send(dispatch.DRAIN)


def drain() -> int:
    """Write the feed to Postgres until it is empty; return how many events were read."""
    count = 0
    wanted.set()
    # A second drain in this process would only contend with the first, which goes on when it finds another was wanted.
    while wanted.is_set() and draining.acquire(blocking=False):
        try:
            wanted.clear()
            count += sum(drain_round(entries) for entries in rounds())
        finally:
            draining.release()
    return count


def rounds() -> Iterator[list[Entry]]:
    """Yield batches of feed entries: those a dead reader left, those this one could not write, then new ones.

    A round must be acknowledged before the next is asked for.
    """
    group.take_over(me())
    for start in ("0", ">"):
        while entries := next_round(start):
            yield entries


def next_round(start: str) -> list[Entry]:
    """Read entries: our own unacknowledged ones from `0`, new ones from `>`."""
    # Before reading: a nudge for what comes during this read must not be lost.
    redis().delete(NUDGED)
    return group.read(me(), start)


def drain_round(entries: Sequence[Entry]) -> int:
    """Write one round of entries, then acknowledge them."""
    # One that was trimmed away before it was written comes without fields; the sweep feeds its orders again.
    texts = [line for _, fields in entries if fields for line in fields.get("b", "").split("\n")]
    with traces.work("archive"):
        write(texts)
        group.ack(entry_id for entry_id, _ in entries)
    trim()
    return len(texts)


def trim() -> None:
    """Drop entries that are written and that every server has had KEEP_MS to read, at most every TRIM_EVERY_S."""
    global trimmed_at  # noqa: PLW0603 - one feed, one drain at a time
    if time.monotonic() - trimmed_at < TRIM_EVERY_S:
        return
    trimmed_at = time.monotonic()
    try:
        # In this order: what another reader takes between the two answers is waiting, and not yet among the delivered.
        delivered = [one["last-delivered-id"] for one in redis().xinfo_groups(live.FEED) if one["name"] == GROUP]
        waiting = redis().xpending(live.FEED, GROUP)
    except ResponseError as reason:
        refuse_unless_emptied(reason)
        return
    written = [waiting["min"]] if waiting["pending"] else delivered
    old = f"{now_ms() - KEEP_MS}-0"
    redis().xtrim(live.FEED, minid=min([*written, old], key=position), approximate=False)


def position(entry_id: str) -> tuple[int, int]:
    """Read an entry's id so that it compares as Redis compares it."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)


def write(lines: Iterable[str]) -> None:
    """Write feed lines; one that cannot be read or stored is set aside with its reason and stops nothing."""
    rows, bad = [], []
    for line in lines:
        try:
            rows.append(read(line))
        except BadRecord as reason:
            bad.append((line, str(reason)))
    heard = [row.wire for row in rows]
    # One order of writing for all readers: two that hold events of the same orders cannot deadlock.
    rows.sort(key=attrgetter("line"))
    for start in range(0, len(rows), EVENTS):
        bad += store(rows[start : start + EVENTS])
    set_aside(bad)
    refused = {line for line, _ in bad}
    finished = {str(row.wire.order_id) for row in rows if row.wire.status in FINAL and row.line not in refused}
    live.feed_again(torn(rows, finished))
    live.forget(finished, settings.ORDER_LIVE_TTL_S)
    traces.touch(str(wire.order_id) for wire in heard)
    for field in named(finished):
        log.info("orders archived", **field)
    observe.archived(heard, now_ms(), refused=len(bad))


def torn(rows: Iterable[Row], finished: Collection[str]) -> list[str]:
    """Return those of these finished orders that lack an event: cut off the feed before anybody had read it.

    One that has just been fed from its first event on has all that there is.
    """
    doubtful = set(finished) - {str(row.wire.order_id) for row in rows if row.wire.seq == 1}
    if not doubtful:
        return []
    found = fetch(
        """
        SELECT o.id::text FROM orders_order o
        WHERE o.id = ANY(%s::uuid[]) AND o.seq > (SELECT count(*) FROM orders_orderevent e WHERE e.order_id = o.id)
        """,
        list(doubtful),
    )
    return [order_id for (order_id,) in found]


def read(line: str) -> Row:
    """Read one line of the feed: id, seq, whether final, the event's JSON.

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


def store(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Write rows in one transaction; return those Postgres refuses, found by halving, with its reason."""
    if not rows:
        return []
    try:
        with transaction.atomic():
            pin_plan()
            strays = unknown_orders(rows, update_orders(latest_of(rows)))
            insert_events([row.event for row in rows if row.wire.order_id not in strays])
            terms.catch_up([amendment(row) for row in rows if row.wire.amended and row.wire.order_id not in strays])
    except (DataError, IntegrityError) as reason:
        if len(rows) == 1:
            return [(rows[0].line, str(reason).strip())]
        middle = len(rows) // 2
        return store(rows[:middle]) + store(rows[middle:])
    return astray([row for row in rows if row.wire.order_id in strays])


def end(histories: Mapping[str, Sequence[str]]) -> None:
    """Write orders that have ended, with all their events, in the transaction that ends them.

    What Postgres refuses is left to DBSync, which finds and sets aside the record that is at fault.
    """
    if not histories:
        return
    try:
        rows = [Row(DECODER.decode(text), text, "") for texts in histories.values() for text in texts]
        with transaction.atomic():
            pin_plan()
            update_orders(latest_of(rows))
            insert_events([row.event for row in rows])
    except (DatabaseError, msgspec.DecodeError) as reason:
        log.warning("ends left to dbsync", reason=str(reason).strip(), **about(histories))


def astray(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the events whose order has no row, with the reason; one that the order took along is no news."""
    if not rows:
        return []
    there = past.seqs({row.wire.order_id for row in rows})
    return [
        (row.line, "its order is archived, without this event" if row.wire.order_id in there else "no such order")
        for row in rows
        if row.wire.seq not in there.get(row.wire.order_id, ())
    ]


def pin_plan() -> None:
    """Keep to index look-ups: on a table never analysed the planner would read all of it for every batch."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SET LOCAL enable_hashjoin = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_mergejoin = off"
        )


FACTS = "- '{orderId,seq,status,at,attempt}'::text[]"
"""What is left of an event's JSON without the part every event has."""


def amendment(row: Row) -> terms.Amendment:
    """Say what an `amended` event changed."""
    return str(row.wire.order_id), row.wire.seq, row.wire.amended or {}


def insert_events(texts: Sequence[str]) -> None:
    """Insert events, given as JSON; one that is there stays as it is."""
    fetch(
        f"""
        INSERT INTO orders_orderevent (order_id, seq, status, at, attempt, facts)
        SELECT (e->>'orderId')::uuid, (e->>'seq')::int, e->>'status', (e->>'at')::timestamptz, (e->>'attempt')::int,
               e {FACTS}
        FROM jsonb_array_elements(%s) AS e ON CONFLICT DO NOTHING
        """,  # noqa: S608 - a constant of this module
        f"[{','.join(texts)}]",
    )


def latest_of(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Fold the events of each order into its last one, with the last venue and signature that any of them names."""
    last: dict[UUID, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row.wire.seq):
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
    """Bring order rows up to their last event; return those that went ahead.

    A final event ends the row whatever its seq: a life begun anew after Redis was lost may be the shorter one.  What
    has ended stays as it ended.
    """
    rows = fetch(
        f"""
        UPDATE orders_order o
        SET status = v.event->>'status', seq = (v.event->>'seq')::int, attempt = (v.event->>'attempt')::int,
            updated_at = (v.event->>'at')::timestamptz, result = v.event {FACTS},
            closed_at = CASE WHEN v.event->>'status' = ANY(%s) THEN coalesce(o.closed_at, now()) ELSE o.closed_at END,
            venue = coalesce(v.venue, o.venue), tx_hash = coalesce(v.tx_hash, o.tx_hash)
        FROM jsonb_to_recordset(%s) AS v(order_id uuid, event jsonb, venue text, tx_hash text)
        WHERE o.id = v.order_id
          AND o.status <> ALL(%s) AND (o.seq < (v.event->>'seq')::int OR v.event->>'status' = ANY(%s))
        RETURNING o.id
        """,  # noqa: S608 - a constant of this module
        UNFILLED,
        recordset(latest),
        FINALS,
        FINALS,
    )
    return {order_id for (order_id,) in rows}


def unknown_orders(rows: Iterable[Row], known: Collection[UUID]) -> set[UUID]:
    """Return the orders of these events, beside those known, that have no row."""
    doubtful = {row.wire.order_id for row in rows}.difference(known)
    if not doubtful:
        return set()
    return doubtful.difference(
        order_id for (order_id,) in fetch("SELECT id FROM orders_order WHERE id = ANY(%s)", list(doubtful))
    )


def set_aside(bad: Sequence[tuple[str, str]]) -> None:
    """Keep records that could not be written, with the reason; each once, however often it is fed."""
    reasons = {line[:RECORD_MAX].replace("\0", "\\0"): reason for line, reason in bad}
    for record in SetAside.objects.filter(record__in=reasons).values_list("record", flat=True):
        reasons.pop(record, None)
    for record, reason in reasons.items():
        log.error("record set aside", record=record[:500], reason=reason)
    SetAside.objects.bulk_create(SetAside(record=record, reason=reason) for record, reason in reasons.items())


def behind_ms() -> int:
    """Return the age of the oldest feed entry not yet written; 0 when there is none."""
    entry_id = oldest_unwritten()
    return max(0, now_ms() - position(entry_id)[0]) if entry_id else 0


def oldest_unwritten() -> str | None:
    """Return the id of the first entry that is not written: one in a reader's hands, or the first that none has had."""
    try:
        waiting = redis().xpending(live.FEED, GROUP)
        if waiting["pending"]:
            return str(waiting["min"])
        delivered = [one["last-delivered-id"] for one in redis().xinfo_groups(live.FEED) if one["name"] == GROUP]
    except ResponseError as reason:
        refuse_unless_emptied(reason)
        delivered = ["0-0"]
    entries = redis().xrange(live.FEED, min=f"({delivered[0]}", count=1)
    return str(entries[0][0]) if entries else None


def backlog() -> int:
    """Count feed entries not yet written; those of a feed nobody has begun to read included."""
    try:
        groups = redis().xinfo_groups(live.FEED)
    except ResponseError:
        return 0
    for one in groups:
        if one["name"] == GROUP:
            # Redis cannot count after some kinds of trimming; whether anything is left it still knows.
            unread = redis().xinfo_stream(live.FEED)["last-generated-id"] != one["last-delivered-id"]
            return int(one["pending"] + (int(unread) if one["lag"] is None else one["lag"]))
    return int(redis().xlen(live.FEED))
