"""The journal: the events of each account's orders in one sequence, by which a client resumes a stream of all of them.

An event has no number of its own to resume by: several processes commit events, so one with a higher number can be
visible first.  DBSync hears of every event in the end.  After each round it notes, for each order of the round, which
of its events Postgres has now: one entry, whose position is the cursor.  Positions are given under a lock that is held
until the commit, so whoever has read up to a position never finds a lower one later.  Entries of one account and round
share a row, because most rounds have many.

- Complete: an event is stored before the entry that names it is written, and a round is repeated until both are.  What
  was committed elsewhere and then lost with Redis, so that DBSync never heard of it, is noted after the loss
  (orders/flow/recovery.py).
- In order, for each order: an entry begins where this process's last entry for the order ended, or else at event 1,
  which repeats what is known.  That is so after a restart of DBSync, after a loss of Redis, and for every order whose
  events several DBSync processes got.  So delivery is at least once; clients drop what they have, by order, epoch and
  seq.

Entries name events and do not hold them: those are in the order's history, also after it is archived.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import connection, transaction

from engine.lifecycle import FINAL
from orders.stores import history
from orders.stores.event_codec import Event
from orders.stores.event_rows import PINNED, Wire
from orders.stores.rows import fetch, fetch_as, recordset

LOCK = 0x6A6F_7572_6E61_6C
"""The advisory lock's number, "journal"."""
KNOWN_MAX = 100_000
"""Unfinished orders whose last entry a process remembers; beyond it all are forgotten and told from event 1 again."""
ROW_MAX = 64
"""Entries in one row: fewer bytes than Postgres would compress."""
FORGOTTEN_AT_ONCE = 1_000


class New(msgspec.Struct):
    """An entry to be written; `last` and `epoch` are None for all events that there are when it is read."""

    order_id: str
    first: int = 1
    last: int | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that was read."""

    position: int
    order_id: str
    first: int
    last: int | None
    epoch: int | None


class Journalist:
    """Writes entries for what DBSync has stored; remembers the last event it noted of each unfinished order."""

    def __init__(self) -> None:
        self.noted: dict[str, int] = {}

    def note(self, stored: Iterable[Wire]) -> None:
        """Write an entry for each order with new events.

        Raises DatabaseError.
        """
        told: defaultdict[str, dict[int, Wire]] = defaultdict(dict)
        for wire in stored:
            told[str(wire.order_id)][wire.seq] = wire
        entries = [self.entry(order_id, events) for order_id, events in told.items()]
        write(entries)
        for one in entries:
            if one.last is None or told[one.order_id][one.last].status in FINAL:
                self.noted.pop(one.order_id, None)
            else:
                self.noted[one.order_id] = one.last
        if len(self.noted) > KNOWN_MAX:
            self.noted.clear()

    def entry(self, order_id: str, events: dict[int, Wire]) -> New:
        """Return the entry that continues this process's last one, or else tells the order from event 1."""
        first, last = min(events), max(events)
        if first == self.noted.get(order_id, 0) + 1 and last - first + 1 == len(events):
            return New(order_id, first, last, events[last].epoch)
        return New(order_id)


journalist = Journalist()


def note_again(order_ids: Iterable[str]) -> None:
    """Have orders told from their first event: DBSync may not have heard of all that Postgres has of them.

    Raises DatabaseError.
    """
    write([New(order_id) for order_id in order_ids])


def write(entries: Sequence[New]) -> None:
    """Write entries; an order of no account has none, nor one that is archived."""
    if not entries:
        return
    with transaction.atomic():
        # Before any position is taken: whoever takes the next one waits until these are visible.
        with connection.cursor() as cursor:
            cursor.execute(f"{PINNED}; SELECT pg_advisory_xact_lock({LOCK})")
        fetch(
            """
            WITH known AS (
                SELECT o.owner_id, n.*, (row_number() OVER (PARTITION BY o.owner_id) - 1) / %s AS number
                FROM json_to_recordset(%s) AS n(order_id uuid, first int, last int, epoch int)
                JOIN orders_order o ON o.id = n.order_id
                WHERE o.owner_id IS NOT NULL
            ), made AS (
                -- Unsorted: all four see the rows of a group in one sequence.
                SELECT owner_id, number, count(*) AS size, array_agg(order_id) AS order_ids,
                       array_agg(first) AS firsts, array_agg(last) AS lasts, array_agg(epoch) AS epochs
                FROM known GROUP BY owner_id, number
            )
            INSERT INTO orders_journalrow (position, owner_id, order_ids, firsts, lasts, epochs)
            SELECT coalesce((SELECT max(position) FROM orders_journalrow), 0)
                   + sum(size) OVER (ORDER BY owner_id, number), owner_id, order_ids, firsts, lasts, epochs
            FROM made
            """,
            ROW_MAX,
            recordset(entries),
        )


def bounds() -> tuple[int, int]:
    """Return the positions before the oldest entry and of the newest; 0 and 0 without any."""
    ((oldest, newest),) = fetch(
        """
        SELECT (SELECT position - cardinality(order_ids) FROM orders_journalrow ORDER BY position LIMIT 1),
               (SELECT max(position) FROM orders_journalrow)
        """
    )
    return oldest or 0, newest or 0


def position_ago(seconds: int) -> int:
    """Return the newest position that is older than this; 0 if there is none.

    Raises DatabaseError.
    """
    sql = """
        SELECT position FROM orders_journalrow WHERE at < now() - %s * interval '1 second'
        ORDER BY position DESC LIMIT 1
    """
    rows = fetch(sql, seconds)
    return int(rows[0][0]) if rows else 0


def news(after: int) -> dict[int, int]:
    """Return the accounts that have entries past a position, with the newest of each."""
    sql = "SELECT owner_id, max(position) FROM orders_journalrow WHERE position > %s GROUP BY owner_id"
    return dict(fetch(sql, after))


def entries(owner: int | None, after: int, limit: int) -> list[Entry]:
    """Return an account's next entries past a position, oldest first; those of all accounts for None."""
    of_owner, whose = ("", ()) if owner is None else ("owner_id = %s AND", (owner,))
    sql = f"""
        SELECT * FROM (
            SELECT j.position - cardinality(j.order_ids) + e.number AS position,
                   e.order_id::text, e.first, e.last, e.epoch
            FROM (SELECT * FROM orders_journalrow WHERE {of_owner} position > %s ORDER BY position LIMIT %s) j
            CROSS JOIN LATERAL unnest(j.order_ids, j.firsts, j.lasts, j.epochs)
                 WITH ORDINALITY AS e(order_id, first, last, epoch, number)
        ) AS entry WHERE position > %s ORDER BY position LIMIT %s
    """  # noqa: S608 - constants of this function
    return fetch_as(Entry, sql, *whose, after, limit, after, limit)


def events(of: Sequence[Entry]) -> list[Event]:
    """Return the events that entries name, each once, and each order's together and in sequence."""
    named: dict[str, list[Entry]] = defaultdict(list)
    for entry in of:
        named[entry.order_id].append(entry)
    known = history.of_many(list(named))
    return [event for order_id, its in named.items() for event in known.get(order_id, ()) if is_named(event, its)]


def is_named(event: Event, its: Iterable[Entry]) -> bool:
    return any(entry.first <= event["seq"] and (entry.last is None or event["seq"] <= entry.last) for entry in its)


def page(owner: int | None, after: int, limit: int) -> tuple[list[dict[str, Any]], int, bool]:
    """Return an account's next events past a position, or all accounts', where they end, and whether more follow.

    There are about `limit` of them: an entry is told as a whole.
    """
    found, count = entries(owner, after, limit + 1), 0
    chosen: list[Entry] = []
    for entry in found[:limit]:
        count += 1 if entry.last is None else entry.last - entry.first + 1
        if chosen and count > limit:
            break
        chosen.append(entry)
    return events(chosen), chosen[-1].position if chosen else after, len(found) > len(chosen)


def forget(days: int) -> int:
    """Delete a batch of rows older than this, oldest first, and never the newest; return how many."""
    rows = fetch(
        """
        DELETE FROM orders_journalrow WHERE position IN (
            SELECT position FROM orders_journalrow
            WHERE position < (SELECT max(position) FROM orders_journalrow) ORDER BY position LIMIT %s
        ) AND at < now() - %s * interval '1 day' RETURNING 1
        """,
        FORGOTTEN_AT_ONCE,
        days,
    )
    return len(rows)
