"""DBSync: every event from the feed in Redis to rows in Postgres, in bulk, and the orders' rows with them.

The feed is read through a consumer group, so an entry whose reader died is taken over by another.  Writing is harmless
twice: an event row that exists is left, an order row never goes back to an earlier seq.
"""

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter

import structlog
from django.conf import settings
from redis.exceptions import ResponseError

from engine.lifecycle import FINAL
from orders.flow import dispatch, restoring
from orders.models import SetAside
from orders.stores import event_rows, live
from orders.stores.event_rows import BadRecord, Row
from orders.stores.rows import fetch
from orders.telemetry import metrics, traces
from orders.telemetry.log_fields import named
from routing.group import ENTRIES, Entry, Group, me, refuse_unless_emptied
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
ROUND_EVERY_S = 0.1
"""How often the worker reads the feed at most: an order that ends meanwhile has its row written once, and not at every
stage."""
RECORD_MAX = 100_000
"""Characters kept of a record that is set aside."""

draining = threading.Lock()
wanted = threading.Event()
trimmed_at = float("-inf")


def nudge() -> None:
    """Wake DBSync, unless it has been woken and has not begun yet."""
    if redis().set(NUDGED, "1", nx=True, px=1_000):
        dispatch.send(dispatch.DRAIN)


def drain(every_s: float = 0.0) -> int:
    """Write the feed to Postgres, a round every so often, until it is empty; return how many events were read."""
    count = 0
    wanted.set()
    # A second drain in this process would only contend with the first, which goes on when it finds another was wanted.
    while wanted.is_set() and draining.acquire(blocking=False):
        try:
            wanted.clear()
            count += sum(drain_round(entries) for entries in rounds(every_s))
        finally:
            draining.release()
    return count


def rounds(every_s: float) -> Iterator[list[Entry]]:
    """Yield batches of feed entries: those a dead reader left, those this one could not write, then new ones.

    A round must be acknowledged before the next is asked for.
    """
    group.take_over(me())
    for start in ("0", ">"):
        while entries := next_round(start):
            began = time.monotonic()
            yield entries
            if len(entries) < ENTRIES:
                time.sleep(max(0.0, began + every_s - time.monotonic()))


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
            rows.append(event_rows.read(line))
        except BadRecord as reason:
            bad.append((line, str(reason)))
    heard = [row.wire for row in rows]
    # One order of writing for all readers: two that hold events of the same orders cannot deadlock.
    rows.sort(key=attrgetter("line"))
    for start in range(0, len(rows), EVENTS):
        stored = event_rows.store(rows[start : start + EVENTS])
        bad += stored.refused
        restoring.restore(sorted(stored.behind_end), "moved on behind its end")
    set_aside(bad)
    refused = {line for line, _ in bad}
    finished = {str(row.wire.order_id) for row in rows if row.wire.status in FINAL and row.line not in refused}
    live.feed_again(torn(rows, finished))
    live.forget(finished, settings.ORDER_LIVE_TTL_S)
    traces.touch(str(wire.order_id) for wire in heard)
    for field in named(finished):
        log.info("orders archived", **field)
    metrics.archived(heard, now_ms(), refused=len(bad))


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
