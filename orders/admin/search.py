"""Find orders by a prefix of an id; every look-up goes through an index and returns a bounded number."""

import re
from uuid import UUID

from django.db import connection

from orders.models import ArchivedOrder, Order
from routing.catalogue import catalogue

FOUND_MAX = 200
"""Maximum number of orders per kind of id; newest first where the index allows it."""


def orders(text: str) -> list[UUID]:
    """Return ids of orders whose id, client order id or transaction hash begins with this text, or that trade it.

    For the latter, the text is a pair, or a token's symbol or mint.
    """
    text = text.strip()
    if names := pairs(text):
        return newest_of(names)
    # Attempts, not the order's own hash: they include the earlier transactions of an order that was retried.
    return [*by_id(text), *with_prefix(BY_CLIENT, text), *with_prefix(BY_HASH, text)]


# In the order of the index: otherwise Postgres may expect to find enough matches early on in the whole table.
BY_CLIENT = "SELECT id FROM orders_order WHERE client_order_id LIKE %s ORDER BY client_order_id USING ~<~ LIMIT %s"
BY_HASH = "SELECT order_id FROM orders_attempt WHERE signature LIKE %s ORDER BY signature USING ~<~ LIMIT %s"


def with_prefix(query: str, text: str) -> list[UUID]:
    """Return what a query finds for a column that begins with this text."""
    with connection.cursor() as cursor:
        cursor.execute(query, [connection.ops.prep_for_like_query(text) + "%", FOUND_MAX])
        return [order_id for (order_id,) in cursor.fetchall()]


def pairs(text: str) -> list[str]:
    """Return the pair that the text names, or all pairs that trade the token it names."""
    known = catalogue()
    token = known.tokens.get(text) or known.tokens.get(text.upper())
    if token:
        return [name for name, pair in known.pairs.items() if token in (pair.token_in, pair.token_out)]
    return [name for name in (text, text.upper()) if name in known.pairs][:1]


def newest_of(names: list[str]) -> list[UUID]:
    """Return ids of the newest orders of each of these pairs."""
    # One index look-up per pair: for several pairs in one query, Postgres would sort all of their orders.
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT found.id FROM unnest(%s::text[]) AS name, LATERAL (
                SELECT id FROM orders_order WHERE pair = name ORDER BY id DESC LIMIT %s
            ) AS found
            """,
            [names, FOUND_MAX],
        )
        return [order_id for (order_id,) in cursor.fetchall()]


def by_id(text: str) -> list[UUID]:
    """Return ids of orders whose id begins with this text."""
    within = beginning(text)
    found = Order.objects.filter(pk__range=within).order_by("-pk") if within else Order.objects.none()
    return list(found.values_list("pk", flat=True)[:FOUND_MAX])


def beginning(text: str) -> tuple[UUID, UUID] | None:
    """Return the lowest and the highest id that begin with this text; None if no id can."""
    # A range and not LIKE, for which Postgres would have to convert every id to text.
    digits = text.replace("-", "").lower()
    if not re.fullmatch("[0-9a-f]{1,32}", digits):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def archived(text: str) -> list[UUID]:
    """Return ids of archived orders whose id, client order id or last transaction hash begins with this text."""
    text, kept = text.strip(), ArchivedOrder.objects.values_list("pk", flat=True)
    within = beginning(text)
    return [
        *(kept.filter(pk__range=within).order_by("-pk")[:FOUND_MAX] if within else ()),
        *kept.filter(client_order_id__startswith=text)[:FOUND_MAX],
        # Repeats the condition of the partial index: the planner cannot tell that the text is not empty.
        *kept.filter(tx_hash__startswith=text).exclude(tx_hash="")[:FOUND_MAX],
    ]
