"""DBSync: every event from the feed in Redis to rows in Postgres, in bulk, and the orders' rows with them.

The feed is read through a consumer group, so an entry whose reader died is taken over by another.  Writing is harmless
twice: an event row that exists is left, an order row never goes back to an earlier seq.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

import msgspec
import structlog
from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction
from redis.exceptions import ResponseError

from engine.lifecycle import FINAL, Status
from orders import dispatch, live, observe, past, restoring, traces
from orders.lines import named
from orders.models import SetAside
from orders.rows import fetch, recordset
from routing.crashpoints import Store, step
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
    epoch: int = 0
    venue: str | None = None
    tx_hash: str | None = None
    type: str | None = None


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
        group.ack([entry_id for entry_id, _ in entries])
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


@step("archive", Store.POSTGRES, "events are committed by DBSync")
def store(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Write rows in one transaction; return those Postgres refuses, found by halving, with its reason."""
    if not rows:
        return []
    try:
        with transaction.atomic():
            pin_plan()
            ahead = update_orders(latest_of(rows))
            behind = stragglers(rows, ahead)
            insert_events([row for row in rows if row.wire.order_id not in behind], ahead)
    except (DataError, IntegrityError) as reason:
        if len(rows) == 1:
            return [(rows[0].line, str(reason).strip())]
        middle = len(rows) // 2
        return store(rows[:middle]) + store(rows[middle:])
    late = [row for row in rows if row.wire.order_id in behind]
    contradicting = {str(row.wire.order_id) for row in late if behind[row.wire.order_id]}
    restoring.restore(sorted(contradicting), "moved on behind its end")
    return astray([row for row in late if not behind[row.wire.order_id]])


def write_history(histories: Iterable[Sequence[str]]) -> None:
    """Write the rows of orders that have ended or been amended, and all their events, in the caller's transaction."""
    rows = [Row(DECODER.decode(text), text, "") for texts in histories for text in texts]
    pin_plan()
    insert_events(rows, update_orders(latest_of(rows)))


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


FACTS = "- '{orderId,epoch,seq,status,at,attempt}'::text[]"
"""What is left of an event's JSON without the part every event has."""


def insert_events(rows: Sequence[Row], ahead: Collection[UUID]) -> None:
    """Insert events.  One that is there stays, unless it is of an earlier epoch: then it was lost, with all after it.

    Orders that went `ahead` had no later event before.
    """
    newest = max((row.wire.epoch for row in rows), default=0)
    doubtful = [row for row in rows if row.wire.order_id not in ahead or row.wire.epoch < newest]
    sure = [row for row in rows if row.wire.order_id in ahead and row.wire.epoch == newest]
    # The later epoch's last: where a batch has two events for one place, that one stands.
    standing = sorted(superseded_left_out(doubtful, rows), key=lambda row: row.wire.epoch) + sure
    once = {(row.wire.order_id, row.wire.seq): row.event for row in standing}
    replaced = fetch(
        f"""
        WITH written AS (
            INSERT INTO orders_orderevent AS known (order_id, epoch, seq, status, at, attempt, facts)
            SELECT (e->>'orderId')::uuid, coalesce((e->>'epoch')::int, 0), (e->>'seq')::int, e->>'status',
                   (e->>'at')::timestamptz, (e->>'attempt')::int, e {FACTS}
            FROM jsonb_array_elements(%s) AS e
            ON CONFLICT (order_id, seq) DO UPDATE SET epoch = excluded.epoch, status = excluded.status,
                at = excluded.at, attempt = excluded.attempt, facts = excluded.facts
            WHERE known.epoch < excluded.epoch AND known.seq > 1
            RETURNING order_id, seq, epoch, xmax <> 0 AS was_there
        )
        SELECT order_id, seq, epoch FROM written WHERE was_there
        """,  # noqa: S608 - a constant of this module
        f"[{','.join(once.values())}]",
    )
    for order_id, seq, epoch in replaced:
        fetch("DELETE FROM orders_orderevent WHERE order_id = %s AND seq > %s AND epoch < %s", order_id, seq, epoch)


def superseded_left_out(rows: Sequence[Row], batch: Sequence[Row]) -> list[Row]:
    """Leave out events of an earlier epoch in whose place Postgres, or the batch, has some of a later one."""
    if not rows:
        return []
    begins = fetch(
        "SELECT order_id, epoch, min(seq) FROM orders_orderevent WHERE order_id = ANY(%s) AND seq > 1 GROUP BY 1, 2",
        list({row.wire.order_id for row in rows}),
    )
    first: dict[UUID, dict[int, int]] = defaultdict(dict)
    for order_id, epoch, seq in [
        *begins,
        *((r.wire.order_id, r.wire.epoch, r.wire.seq) for r in batch if r.wire.seq > 1),
    ]:
        first[order_id][epoch] = min(seq, first[order_id].get(epoch, seq))

    def stands(wire: Wire) -> bool:
        return all(wire.seq < seq for epoch, seq in first[wire.order_id].items() if epoch > wire.epoch)

    return [row for row in rows if stands(row.wire)]


def latest_of(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Fold the events of each order into its last one, with the last venue and signature that any of them names."""
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
    """Bring order rows up to their last event; return those that went ahead.

    What was made in a later epoch is later, whatever its seq; an event of the version before this one names none.  What
    has ended stays as it ended.
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
    """Return orders whose events must not be written, beside those known to be in order.

    True for one that has ended in Postgres before them, which Redis does not know; False for one that has no row.
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
