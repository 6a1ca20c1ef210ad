"""Finding orders by the beginning of an id: every look-up goes through an index and brings a bounded number."""

import re
from uuid import UUID

from django.db import connection

from orders.models import ArchivedOrder, Attempt, Order
from routing.catalogue import catalogue

FOUND_MAX = 200
"""Orders found per kind of id, the newest first where the index knows which those are."""


def orders(text: str) -> list[UUID]:
    """Return ids of orders whose id, client order id or transaction hash begins with this text, or that trade it.

    What orders trade is a pair, or a token by symbol or mint.
    """
    text = text.strip()
    if names := pairs(text):
        return newest_of(names)
    by_client = Order.objects.filter(client_order_id__startswith=text).values_list("pk", flat=True)
    # Attempts, not the order's own hash: they know the earlier transactions of an order that was retried, too.
    by_hash = Attempt.objects.filter(signature__startswith=text).values_list("order_id", flat=True)
    return [*by_id(text), *by_client[:FOUND_MAX], *by_hash[:FOUND_MAX]]


def pairs(text: str) -> list[str]:
    """Return the pairs that a text names, or in which the token trades that it names."""
    known = catalogue()
    token = known.tokens.get(text) or known.tokens.get(text.upper())
    if token:
        return [name for name, pair in known.pairs.items() if token in (pair.token_in, pair.token_out)]
    return [name for name in (text, text.upper()) if name in known.pairs][:1]


def newest_of(names: list[str]) -> list[UUID]:
    """Return ids of the newest orders of each of these pairs."""
    # A look into the index for each: of all the orders of several pairs Postgres would sort every one.
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
    # A range and not LIKE: Postgres would have to turn every id into text first.
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
        # In the words of its index: for all it knows, the text might be empty.
        *kept.filter(tx_hash__startswith=text).exclude(tx_hash="")[:FOUND_MAX],
    ]
