"""Verify history: every seal follows from the one before it, and every sealed order and act is as it was sealed.

Not covered, and counted: orders that have not ended, and orders that ended before history was sealed.  An order that
ended long enough ago and has no seal is reported: it was inserted, or it lacks events.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from orders.models import SealKind
from orders.stores import seals
from orders.stores.rows import fetch
from orders.stores.seals import DIGEST_BYTES, NONE, Entry, Head

PAGE = 2_000
FIRST = UUID(int=0)
SEALED_WITHIN = timedelta(days=1)
"""How long after its end an order has its seal even if it was left to the walk, which reads 400 orders a second."""

HOT = f"""
    SELECT e.order_id, array_agg(e.seq ORDER BY e.seq), string_agg({seals.EVENT_DIGEST}, ''::bytea ORDER BY e.seq)
    FROM orders_orderevent e WHERE e.order_id = ANY(%s) GROUP BY e.order_id
"""  # noqa: S608 - a constant of this module
ARCHIVED = f"""
    SELECT e.order_id, array_agg(e.seq ORDER BY e.seq), string_agg({seals.EVENT_DIGEST}, ''::bytea ORDER BY e.seq)
    FROM orders_archivedorder o, jsonb_populate_recordset(NULL::orders_orderevent, o.events) e
    WHERE o.id = ANY(%s) GROUP BY e.order_id
"""  # noqa: S608 - a constant of this module


@dataclass
class Verdict:
    """The result so far: what was read, and what is wrong, in the order of the chain."""

    seals: int = 0
    orders: int = 0
    acts: int = 0
    forgotten: int = 0
    before: int = 0
    moving: int = 0
    head: Head = NONE
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Link:
    """One seal as it is stored."""

    head: Head
    at: datetime
    entry: Entry

    @property
    def digests(self) -> list[bytes]:
        return split(self.entry.digests)


def split(digests: bytes) -> list[bytes]:
    return [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]


def verify(noted: Head = NONE) -> Iterator[Verdict]:
    """Read all of history, and yield the result so far after each page; the last one is the result.

    `noted` is a head that was written down earlier: the chain must still have it.
    """
    result = Verdict()
    started: datetime | None = None
    for page in pages():
        started = started or page[0].at
        result.wrong += chain(result.head, page, noted)
        result.wrong += orders([one for one in page if one.entry.kind == SealKind.ORDER])
        result.wrong += acts([one for one in page if one.entry.kind == SealKind.ACT])
        count(result, page)
        yield result
    if noted.number > result.head.number:
        result.wrong.append(f"seal {noted.number}, which was noted, is deleted: the chain ends at {result.head.number}")
    result.wrong += acts_without_seal()
    for table in ("orders_order", "orders_archivedorder"):
        for _ in unsealed(table, started, result):
            yield result
    yield result


def pages() -> Iterator[list[Link]]:
    last = 0
    while rows := fetch(
        """
        SELECT id, head, at, kind, order_id, act_id, digests FROM orders_seal WHERE id > %s ORDER BY id LIMIT %s
        """,
        last,
        PAGE,
    ):
        last = rows[-1][0]
        yield [
            Link(Head(number, head), at, Entry(SealKind(kind), order_id, act_id, digests))
            for number, head, at, kind, order_id, act_id, digests in rows
        ]


def count(result: Verdict, page: Sequence[Link]) -> None:
    kinds = [one.entry.kind for one in page]
    result.seals += len(page)
    result.orders += kinds.count(SealKind.ORDER)
    result.acts += kinds.count(SealKind.ACT)
    result.forgotten += kinds.count(SealKind.FORGOTTEN)
    result.head = page[-1].head


def chain(before: Head, page: Sequence[Link], noted: Head) -> Iterator[str]:
    """Yield what is wrong with the seals themselves."""
    for one in page:
        number = one.head.number
        if number != before.number + 1:
            gap = f"{before.number + 1}" if number == before.number + 2 else f"{before.number + 1} to {number - 1}"
            yield f"seal {gap}: deleted"
        elif seals.link(before.hash, number, one.at, one.entry) != one.head.hash:
            yield f"seal {number}: altered or inserted, it does not follow from seal {before.number}"
        if number == noted.number and one.head.hash != noted.hash:
            yield f"seal {number}: not the one that was noted, the chain was made anew"
        before = one.head


def orders(page: Sequence[Link]) -> Iterator[str]:
    """Yield what differs from the seals of orders."""
    sealed = {one.entry.order_id: one.digests for one in page if one.entry.order_id}
    ids = list(sealed)
    # Hot rows first: an order that is retired between the two reads is then found in the archive.
    found = as_found(fetch(HOT, ids))
    found |= as_found(fetch(ARCHIVED, [order_id for order_id in ids if order_id not in found]))
    missing = [order_id for order_id in ids if order_id not in found]
    forgotten = {
        order_id
        for (order_id,) in fetch(
            "SELECT order_id FROM orders_seal WHERE order_id = ANY(%s) AND kind = 'forgotten'", missing
        )
    }
    for order_id, digests in sealed.items():
        if order_id not in forgotten:
            yield from events(order_id, digests, found.get(order_id, {}))


def as_found(rows: Iterable[tuple[Any, ...]]) -> dict[UUID, dict[int, bytes]]:
    return {order_id: dict(zip(seqs, split(digests), strict=True)) for order_id, seqs, digests in rows}


def events(order_id: UUID, sealed: Sequence[bytes], found: dict[int, bytes]) -> Iterator[str]:
    """Yield what differs from the seal of one order."""
    if not found:
        yield f"order {order_id}: deleted with its {len(sealed)} events"
        return
    for seq, digest in enumerate(sealed, 1):
        if seq not in found:
            yield f"order {order_id}, event {seq}: deleted"
        elif found[seq] != digest:
            yield f"order {order_id}, event {seq}: altered"
    for seq in sorted(found.keys() - set(range(1, len(sealed) + 1))):
        yield f"order {order_id}, event {seq}: inserted"


def acts(page: Sequence[Link]) -> Iterator[str]:
    """Yield what differs from the seals of acts."""
    sealed = {one.entry.act_id: one.entry.digests for one in page}
    found = dict(fetch(f"SELECT a.id, {seals.ACT_DIGEST} FROM orders_act a WHERE a.id = ANY(%s)", list(sealed)))  # noqa: S608
    for act_id, digest in sealed.items():
        if act_id not in found:
            yield f"act {act_id}: deleted"
        elif found[act_id] != digest:
            yield f"act {act_id}: altered"


def acts_without_seal() -> Iterator[str]:
    """Yield acts that nobody sealed: an act and its seal are committed together."""
    rows = fetch(
        """
        SELECT a.id FROM orders_act a
        WHERE NOT EXISTS (SELECT FROM orders_seal s WHERE s.act_id = a.id) ORDER BY a.id
        """
    )
    for (act_id,) in rows:
        yield f"act {act_id}: inserted, it has no seal"


def unsealed(table: str, started: datetime | None, result: Verdict) -> Iterator[None]:
    """Read a table's orders that have no seal, page by page: report those that should have one, and count the rest."""
    status, ended, seq = ("o.status", "o.updated_at", "o.seq")
    if table == "orders_archivedorder":
        status, ended = "o.columns->>'status'", "(o.columns->>'updated_at')::timestamptz"
        seq = "(o.columns->>'seq')::int"
    last: UUID | None = FIRST
    while last:
        rows = fetch(
            f"""
            SELECT o.id, s.order_id IS NOT NULL, {status} = ANY(%s), {ended}, {seq}, now()
            FROM orders_order o LEFT JOIN orders_seal s ON s.order_id = o.id AND s.kind = 'order'
            WHERE o.id > %s ORDER BY o.id LIMIT %s
            """.replace("orders_order o", f"{table} o"),  # noqa: S608 - names of this module
            seals.FINALS,
            last,
            PAGE,
        )
        for order_id, is_sealed, is_over, at, expected, now in rows:
            if is_sealed:
                continue
            if not is_over or (started and started <= at and at > now - SEALED_WITHIN):
                result.moving += 1
            elif started is None or at < started:
                result.before += 1
            else:
                result.wrong.append(f"order {order_id}: inserted, or without all its {expected} events: it has no seal")
        last = rows[-1][0] if len(rows) == PAGE else None
        yield
