"""Retired orders, which were moved out of the hot tables: find them, and read them back as the original rows.

Search the hot tables first, then here: an order that is retired between the two queries is then still found.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from orders.models import ArchivedOrder, Attempt, DeadLetter, Order, OrderEvent
from orders.stores.rows import fetch, fetch_as


def row(order_id: str | UUID) -> Order | None:
    """Return an order's row, hot or retired; None if there is none."""
    hot = Order.objects.filter(pk=order_id).first()
    if hot is not None:
        return hot
    kept = find(order_id)
    return order(kept) if kept else None


def find(order_id: str | UUID) -> ArchivedOrder | None:
    """Return a retired order; None if no order with this id is retired."""
    return ArchivedOrder.objects.filter(pk=order_id).first()


def order(kept: ArchivedOrder) -> Order:
    """Return a retired order's original row.  It is in no table: do not save it or follow its relations."""
    # Postgres unpacks the document: no number passes through a float, and no column is listed here.
    sql = """
        SELECT o.* FROM orders_archivedorder a, jsonb_populate_record(NULL::orders_order, a.columns) o WHERE a.id = %s
    """
    return Order.objects.raw(sql, [kept.pk])[0]


def attempts(kept: ArchivedOrder) -> list[Attempt]:
    """Return its original attempt rows, oldest first."""
    sql = """
        SELECT t.* FROM orders_archivedorder a, jsonb_populate_recordset(NULL::orders_attempt, a.attempts) t
        WHERE a.id = %s ORDER BY t.id
    """
    return list(Attempt.objects.raw(sql, [kept.pk]))


def events(kept: ArchivedOrder) -> list[OrderEvent]:
    """Return its original event rows, oldest first."""
    return [event(columns) for columns in sorted(kept.events, key=lambda columns: columns["seq"])]


def event(columns: Mapping[str, Any]) -> OrderEvent:
    """Build an event from its columns; Django's raw queries do not support a composite primary key."""
    at = datetime.fromisoformat(columns["at"])
    return OrderEvent(**{**columns, "order_id": UUID(columns["order_id"]), "at": at})


def letter(kept: ArchivedOrder) -> DeadLetter | None:
    """Return its original dead letter row, if it has one."""
    sql = """
        SELECT l.* FROM orders_archivedorder a, jsonb_populate_record(NULL::orders_deadletter, a.letter) l
        WHERE a.id = %s AND a.letter IS NOT NULL
    """
    return next(iter(DeadLetter.objects.raw(sql, [kept.pk])), None)


def taken(client_order_ids: Sequence[str | None], replays: Sequence[str | None]) -> set[tuple[int | None, str]]:
    """Return those of these client order ids, with their owners, and of these replayed ids, that retired orders use."""
    rows = fetch(
        """
        SELECT owner_id, client_order_id FROM orders_archivedorder WHERE client_order_id = ANY(%s)
        UNION ALL
        SELECT NULL, replay_of::text FROM orders_archivedorder WHERE replay_of = ANY(%s::uuid[])
        """,
        list(client_order_ids),
        list(replays),
    )
    return {(owner, name) for owner, name in rows}


@dataclass(frozen=True, slots=True)
class Standing:
    """What a repeated request is compared with: the order that has its client order id, or replays the same order."""

    id: str
    status: str
    created_at: datetime
    fingerprint: str
    owner: int | None
    client_order_id: str | None
    replay_of: str | None


def standing(client_order_ids: Sequence[str | None], replays: Sequence[str | None]) -> list[Standing]:
    """Return the retired orders with these client order ids, or that replay these orders."""
    return fetch_as(
        Standing,
        """
        SELECT id::text, columns->>'status' AS status, (columns->>'created_at')::timestamptz AS created_at,
               columns->>'fingerprint' AS fingerprint, owner_id AS owner, client_order_id,
               replay_of::text
        FROM orders_archivedorder WHERE client_order_id = ANY(%s) OR replay_of = ANY(%s::uuid[])
        """,
        list(client_order_ids),
        list(replays),
    )


def is_known(client_order_id: str, owner: int | None, fingerprint: str) -> bool:
    """Tell whether a retired order, of this account or of none, has this client order id and the same fingerprint."""
    return any(one.owner in (owner, None) and one.fingerprint == fingerprint for one in standing([client_order_id], []))


def seqs(order_ids: Collection[UUID]) -> dict[UUID, set[int]]:
    """Return the seqs of the stored events of each of these orders that is retired."""
    kept = ArchivedOrder.objects.filter(pk__in=order_ids).values_list("pk", "events")
    return {order_id: {event["seq"] for event in told} for order_id, told in kept}
