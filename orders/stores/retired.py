"""Orders that have left the hot tables: found by their id or a client's name, and read back as the rows they were.

Whoever looks in both places looks here last: an order moves in one transaction, so it is found in the one or the other.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from orders.models import ArchivedOrder, Attempt, DeadLetter, Order, OrderEvent
from orders.stores.rows import fetch


def row(order_id: str | UUID) -> Order | None:
    """Return an order's row, from wherever it is; None if there is none."""
    hot = Order.objects.filter(pk=order_id).first()
    if hot is not None:
        return hot
    kept = find(order_id)
    return order(kept) if kept else None


def find(order_id: str | UUID) -> ArchivedOrder | None:
    """Return an archived order; None for one that is not, or not yet."""
    return ArchivedOrder.objects.filter(pk=order_id).first()


def order(kept: ArchivedOrder) -> Order:
    """Return an archived order's row as it was.  It is in no table: neither save it nor follow its relations."""
    # Postgres reads its own document: no number goes through a float, and no column is named here.
    sql = """
        SELECT o.* FROM orders_archivedorder a, jsonb_populate_record(NULL::orders_order, a.columns) o WHERE a.id = %s
    """
    return Order.objects.raw(sql, [kept.pk])[0]


def attempts(kept: ArchivedOrder) -> list[Attempt]:
    """Return its attempts as they were, the oldest first."""
    sql = """
        SELECT t.* FROM orders_archivedorder a, jsonb_populate_recordset(NULL::orders_attempt, a.attempts) t
        WHERE a.id = %s ORDER BY t.id
    """
    return list(Attempt.objects.raw(sql, [kept.pk]))


def events(kept: ArchivedOrder) -> list[OrderEvent]:
    """Return its events as they were, the oldest first."""
    return [event(columns) for columns in sorted(kept.events, key=lambda columns: columns["seq"])]


def event(columns: Mapping[str, Any]) -> OrderEvent:
    """Read an event's row; Django reads no raw row whose key has two columns."""
    at = datetime.fromisoformat(columns["at"])
    return OrderEvent(**{**columns, "order_id": UUID(columns["order_id"]), "at": at})


def letter(kept: ArchivedOrder) -> DeadLetter | None:
    """Return its dead letter as it was, if it has one."""
    sql = """
        SELECT l.* FROM orders_archivedorder a, jsonb_populate_record(NULL::orders_deadletter, a.letter) l
        WHERE a.id = %s AND a.letter IS NOT NULL
    """
    return next(iter(DeadLetter.objects.raw(sql, [kept.pk])), None)


def taken(client_order_ids: Sequence[str | None], replays: Sequence[str | None]) -> set[str]:
    """Return which of these client order ids, and of these replayed orders, an archived order has."""
    rows = fetch(
        """
        SELECT client_order_id FROM orders_archivedorder WHERE client_order_id = ANY(%s)
        UNION ALL
        SELECT replay_of::text FROM orders_archivedorder WHERE replay_of = ANY(%s::uuid[])
        """,
        list(client_order_ids),
        list(replays),
    )
    return {name for (name,) in rows}


def standing(client_order_ids: Sequence[str | None], replays: Sequence[str | None]) -> list[tuple[Any, ...]]:
    """Return of archived orders: id, status, moment of creation, fingerprint, client order id, replayed order."""
    return fetch(
        """
        SELECT id::text, columns->>'status', (columns->>'created_at')::timestamptz, columns->>'fingerprint',
               client_order_id, replay_of::text
        FROM orders_archivedorder WHERE client_order_id = ANY(%s) OR replay_of = ANY(%s::uuid[])
        """,
        list(client_order_ids),
        list(replays),
    )


def is_known(client_order_id: str, fingerprint: str) -> bool:
    """Tell whether an archived order has this name and is the same order."""
    return any(row[3] == fingerprint for row in standing([client_order_id], []))


def seqs(order_ids: Collection[UUID]) -> dict[UUID, set[int]]:
    """Return, for each of these orders that is archived, the seqs of the events it has."""
    kept = ArchivedOrder.objects.filter(pk__in=order_ids).values_list("pk", "events")
    return {order_id: {event["seq"] for event in told} for order_id, told in kept}
