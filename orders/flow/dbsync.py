"""DBSync: write every event of the Redis feed to Postgres in bulk, and update the orders' rows with them.

The feed is read through a consumer group, so the entries of a dead reader are claimed by another one. Writes are
idempotent: an event row is replaced only by one of a later epoch, and an order row changes only to a later epoch, or to
a later seq of the same epoch.
"""

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import structlog
from django.conf import settings
from redis.exceptions import ResponseError

from engine.lifecycle import FINAL
from orders.flow import completion, dispatch, restoring, sealing
from orders.models import SetAside
from orders.stores import event_rows, live
from orders.stores.event_rows import BadRecord, Row
from orders.stores.journal import journalist
from orders.telemetry import metrics, traces
from orders.telemetry.log_fields import named
from routing.group import ENTRIES, Entry, Group, me, refuse_unless_emptied
from routing.store import now_ms, redis

log = structlog.get_logger(__name__)

GROUP = "dbsync"
NUDGED = "dbsync:nudged"

group = Group(live.FEED, GROUP)
EVENTS = 2_000
"""Event rows per statement."""
KEEP_MS = 5_000
"""How long written entries stay in the feed for the API servers, which read it too. A server that lags further reads
the orders' own event streams."""
TRIM_EVERY_S = 0.5
ROUND_EVERY_S = 0.25
"""Minimum interval between reads of the feed."""
RECORD_MAX = 100_000
"""Characters kept of a record that is set aside."""

draining = threading.Lock()
wanted = threading.Event()
trimmed_at = float("-inf")


def nudge() -> None:
    """Wake DBSync, unless a wake-up is already pending."""
    if redis().set(NUDGED, "1", nx=True, px=1_000):
        dispatch.send(dispatch.DRAIN)


def drain(every_s: float = 0.0) -> int:
    """Write the feed to Postgres until it is empty, one round every `every_s`; return the number of events read."""
    count = 0
    wanted.set()
    # One drain per process: a second would only contend. The running drain loops again if another was requested.
    while wanted.is_set() and draining.acquire(blocking=False):
        try:
            wanted.clear()
            count += drain_feed(every_s)
        finally:
            draining.release()
    return count


class Round(NamedTuple):
    """Entries of the feed by id, and the lines they hold."""

    ids: Sequence[str] = ()
    lines: Sequence[str] = ()


def drain_feed(every_s: float) -> int:
    """Write entries of a dead reader and our own unacknowledged ones, then new ones; return the number of events."""
    group.take_over(me())
    count, held = 0, Round()
    for new in rounds("0", 0.0):
        write_round(new)
        count += len(new.lines)
    for new in rounds(">", every_s):
        held = write_finished(held, new) if every_s else write_round(new)
        count += len(new.lines)
    write_round(held)
    return count


def rounds(start: str, every_s: float) -> Iterator[Round]:
    """Yield the feed in rounds: our own unacknowledged entries from `0`, new ones from `>`.

    The caller must acknowledge a round that began at `0` before it takes the next.
    """
    while entries := next_round(start):
        began = time.monotonic()
        # An entry that was trimmed before it was written has no fields. Recovery and `limit.audit` feed them again.
        lines = [line for _, fields in entries if fields for line in fields.get("b", "").split("\n")]
        yield Round([entry_id for entry_id, _ in entries], lines)
        if len(entries) < ENTRIES:
            time.sleep(max(0.0, began + every_s - time.monotonic()))


def next_round(start: str) -> list[Entry]:
    """Read entries: our own unacknowledged ones from `0`, new ones from `>`."""
    # Cleared before the read, so that a nudge for entries that arrive during the read is not lost.
    redis().delete(NUDGED)
    return group.read(me(), start)


def write_finished(held: Round, new: Round) -> Round:
    """Write the round held back before, and the events in the new one of orders that have ended or were held back.

    Return the rest, which is held back for one round: most orders end within it, and their rows are written once.
    """
    ready = {order_of(line) for line in held.lines} | {order_of(line) for line in new.lines if is_final(line)}
    later = [line for line in new.lines if order_of(line) not in ready]
    now = [line for line in new.lines if order_of(line) in ready]
    # An entry is acknowledged when all its lines are written.
    done, left = (held.ids, new.ids) if later else ([*held.ids, *new.ids], ())
    write_round(Round(done, [*held.lines, *now]))
    return Round(left, later)


def order_of(line: str) -> str:
    """Return the order id in a line of the feed."""
    return line.split(" ", 1)[0]


def is_final(line: str) -> bool:
    """Return whether a line of the feed holds its order's last event."""
    return line.split(" ", 3)[2:3] == ["1"]


def write_round(round_: Round) -> Round:
    """Write lines, then acknowledge their entries; nothing is held back."""
    if round_.ids or round_.lines:
        with traces.work("archive"):
            write(round_.lines)
            group.ack(list(round_.ids))
        trim()
    return Round()


def trim() -> None:
    """Drop entries that are written and older than KEEP_MS, at most every TRIM_EVERY_S."""
    global trimmed_at  # noqa: PLW0603 - one feed, one drain at a time
    if time.monotonic() - trimmed_at < TRIM_EVERY_S:
        return
    trimmed_at = time.monotonic()
    try:
        # This order matters: an entry another reader takes between the two calls is pending but not in `delivered`.
        delivered = [one["last-delivered-id"] for one in redis().xinfo_groups(live.FEED) if one["name"] == GROUP]
        waiting = redis().xpending(live.FEED, GROUP)
    except ResponseError as reason:
        refuse_unless_emptied(reason)
        return
    written = [waiting["min"]] if waiting["pending"] else delivered
    old = f"{now_ms() - KEEP_MS}-0"
    redis().xtrim(live.FEED, minid=min([*written, old], key=position), approximate=False)


def position(entry_id: str) -> tuple[int, int]:
    """Parse an entry id into a tuple that sorts as Redis sorts ids."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)


def write(lines: Iterable[str]) -> None:
    """Write feed lines. A line that cannot be read or stored is set aside with its reason; the rest are written."""
    rows, bad = [], []
    for line in lines:
        try:
            rows.append(event_rows.read(line))
        except BadRecord as reason:
            bad.append((line, str(reason)))
    heard = [row.wire for row in rows]
    # All readers write in the same order, so two readers with events of the same orders cannot deadlock.
    rows.sort(key=attrgetter("line"))
    for start in range(0, len(rows), EVENTS):
        stored = event_rows.store(rows[start : start + EVENTS])
        bad += stored.refused
        restoring.restore(sorted(stored.behind_end), "moved on behind its end")
    set_aside(bad)
    # Stored first, acknowledged last: a round is repeated until its events are noted.
    journalist.note(heard)
    refused = {line for line, _ in bad}
    finished = {str(row.wire.order_id) for row in rows if row.wire.status in FINAL and row.line not in refused}
    live.feed_again(torn(rows, finished))
    live.forget(finished, settings.ORDER_LIVE_TTL_S)
    sealing.noted.extend(finished)
    traces.touch(str(wire.order_id) for wire in heard)
    for field in named(finished):
        log.info("orders saved", **field)
    metrics.archived(heard, now_ms(), refused=len(bad))


def torn(rows: Iterable[Row], finished: Collection[str]) -> list[str]:
    """Return the finished orders of which Postgres lacks an event: the feed was cut off before it was read.

    What the rows of an order and its attempts imply is written.  An order whose events were all just fed from seq 1 is
    complete and is not checked.
    """
    return completion.complete(set(finished) - {str(row.wire.order_id) for row in rows if row.wire.seq == 1})


def set_aside(bad: Sequence[tuple[str, str]]) -> None:
    """Store records that could not be written, with the reason; each only once, however often it is fed."""
    reasons = {line[:RECORD_MAX].replace("\0", "\\0"): reason for line, reason in bad}
    for record in SetAside.objects.filter(record__in=reasons).values_list("record", flat=True):
        reasons.pop(record, None)
    for record, reason in reasons.items():
        log.error("record set aside", record=record[:500], reason=reason)
    SetAside.objects.bulk_create(SetAside(record=record, reason=reason) for record, reason in reasons.items())


def behind_ms() -> int:
    """Return the age of the oldest feed entry not yet written; 0 if there is none."""
    entry_id = oldest_unwritten()
    return max(0, now_ms() - position(entry_id)[0]) if entry_id else 0


def oldest_unwritten() -> str | None:
    """Return the id of the first unwritten entry: the oldest pending one, or else the first undelivered one."""
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
    """Count feed entries not yet written, including those of a feed that no reader has started on."""
    try:
        groups = redis().xinfo_groups(live.FEED)
    except ResponseError:
        return 0
    for one in groups:
        if one["name"] == GROUP:
            # After some kinds of trimming Redis cannot count the lag, but it still knows whether any entry is unread.
            unread = redis().xinfo_stream(live.FEED)["last-generated-id"] != one["last-delivered-id"]
            return int(one["pending"] + (int(unread) if one["lag"] is None else one["lag"]))
    return int(redis().xlen(live.FEED))
