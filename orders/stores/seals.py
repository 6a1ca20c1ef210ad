"""Seals: a chain of hashes, by which an altered, deleted or inserted row of history is found and named.

When an order has ended and all its events are in Postgres, one row seals it.  Its wire format, integers big-endian:

- The digest of an event is the first 16 bytes of SHA-256 over: order id (16 bytes), seq (4), attempt (4), time in Unix
  microseconds (8), length of the status (4), and the status and the facts as UTF-8.  Facts are JSON whose members are
  ordered by the length of their names in bytes, then by these, with `", "` and `": "` between, numbers in the digits
  they were written with, and no escape that JSON does not require: what every version of Postgres since 9.4 writes for
  `jsonb`, whatever its settings.  The epoch is left out: after a loss of Redis an event that stands is told again in a
  later epoch.
- The digest of an act is the same over: its number (8), its time (8), and the JSON array of its other columns.
- `head` is SHA-256 over: the head before (32 bytes; none for the first), number (8), kind in ASCII and a zero byte,
  order id and act number (16 each, zero for none), time (8), and the digests.

Seals are written one at a time, under a lock, each with the next number: two workers neither seal an order twice nor
fork the chain, and one that dies leaves nothing half done.  An order that is sealed is skipped.

The chain needs no secret, so whoever may rewrite the whole table can make a new one: note its head elsewhere.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import transaction

from engine.lifecycle import FINAL
from orders.models import SealKind
from orders.stores.event_rows import pin_plan
from orders.stores.rows import as_bytea, fetch, recordset

LOCK = 0x7365_616C_73
"""The advisory lock's number, "seals"."""
DIGEST_BYTES = 16
FINALS = sorted(status.value for status in FINAL)
RESTATED_AFTER = timedelta(minutes=10)
"""Age of an order's end at which it is sealed though Redis was lost meanwhile: until then a late reader of the feed may
still replace events."""
UNIX = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

EVENT_DIGEST = """
    substr(sha256(uuid_send(e.order_id) || int4send(e.seq) || int4send(e.attempt)
        || int8send((extract(epoch FROM e.at) * 1000000)::bigint) || int4send(octet_length(e.status))
        || convert_to(e.status || e.facts::text, 'UTF8')), 1, 16)
"""
"""SQL for the digest of an event, row `e`."""
ACT_DIGEST = """
    substr(sha256(int8send(a.id) || int8send((extract(epoch FROM a.at) * 1000000)::bigint)
        || convert_to(jsonb_build_array(a.who, a.origin, a.what, a.subject, a.reason, a.outcome, a.page)::text,
                      'UTF8')), 1, 16)
"""
"""SQL for the digest of an act, row `a`."""

WHOLE = f"""
    SELECT o.id, string_agg({EVENT_DIGEST}, ''::bytea ORDER BY e.seq)
    FROM orders_order o JOIN orders_orderevent e ON e.order_id = o.id
    WHERE o.id = ANY(%s) AND o.status = ANY(%s)
      AND NOT EXISTS (SELECT FROM orders_seal s WHERE s.order_id = o.id AND s.kind = 'order')
    GROUP BY o.id
    HAVING count(*) = o.seq AND max(e.seq) = o.seq AND min(e.seq) = 1
       AND (min(e.epoch) = max(e.epoch) OR o.updated_at < now() - %s)
    ORDER BY o.id
"""  # noqa: S608 - a constant of this module
"""SQL for the orders, of those given, that can be sealed: ended, complete and not sealed, with their digests."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one seal says."""

    kind: SealKind
    order_id: UUID | None = None
    act_id: int | None = None
    digests: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """The last seal's number and hash: whoever noted it elsewhere can prove that the chain up to it still stands."""

    number: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"


NONE = Head(0, b"")


def seal(order_ids: Iterable[UUID]) -> int:
    """Seal those of these orders that have ended, are complete and have no seal; return how many."""
    with transaction.atomic():
        hold()
        pin_plan()
        whole = fetch(WHOLE, list(order_ids), FINALS, RESTATED_AFTER)
        append([Entry(SealKind.ORDER, order_id=order_id, digests=digests) for order_id, digests in whole])
    return len(whole)


def seal_act(act_id: int) -> None:
    """Seal an act, in the caller's transaction, so that no act is ever without a seal."""
    hold()
    ((digest,),) = fetch(f"SELECT {ACT_DIGEST} FROM orders_act a WHERE a.id = %s", act_id)  # noqa: S608
    append([Entry(SealKind.ACT, act_id=act_id, digests=digest)])


def begin() -> None:
    """Begin the chain, unless it has begun: what ended before has no seal."""
    with transaction.atomic():
        hold()
        append([])


def hold() -> None:
    """Let nobody else append until this transaction ends.  What is read after this is what they have appended."""
    fetch("SELECT pg_advisory_xact_lock(%s)", LOCK)


def append(entries: Sequence[Entry]) -> None:
    """Append seals, in a transaction that holds the lock.  The first ever says from when on history is sealed."""
    ((at,),), last = fetch("SELECT clock_timestamp()"), head()
    links = []
    for entry in entries if last.number else [Entry(SealKind.START), *entries]:
        last = Head(last.number + 1, link(last.hash, last.number + 1, at, entry))
        links.append((last, entry))
    insert(links, at)


def head() -> Head:
    """Return the head of the chain."""
    found = fetch("SELECT id, head FROM orders_seal ORDER BY id DESC LIMIT 1")
    return Head(*found[0]) if found else NONE


def link(before: bytes, number: int, at: datetime, entry: Entry) -> bytes:
    """Return a seal's head."""
    order_id = entry.order_id.bytes if entry.order_id else bytes(16)
    fields = (
        *(before, number.to_bytes(8, "big"), entry.kind.value.encode(), b"\0", order_id),
        *((entry.act_id or 0).to_bytes(16, "big"), ((at - UNIX) // MICROSECOND).to_bytes(8, "big"), entry.digests),
    )
    return hashlib.sha256(b"".join(fields)).digest()


def insert(links: Sequence[tuple[Head, Entry]], at: datetime) -> None:
    if not links:
        return
    fetch(
        """
        INSERT INTO orders_seal (id, kind, order_id, act_id, at, digests, head)
        SELECT id, kind, order_id, act_id, %s, digests, head
        FROM json_to_recordset(%s)
            AS s(id bigint, kind text, order_id uuid, act_id bigint, digests bytea, head bytea)
        """,
        at,
        recordset(
            {
                **{"id": head.number, "kind": entry.kind.value, "order_id": entry.order_id, "act_id": entry.act_id},
                **{"digests": as_bytea(entry.digests), "head": as_bytea(head.hash)},
            }
            for head, entry in links
        ),
    )
