"""Finding orders by the beginning of an id: every look-up goes through an index and brings a bounded number."""

import re
from uuid import UUID

from orders.models import Attempt, Order

FOUND_MAX = 200
"""Orders found per kind of id, the newest first where the index knows which those are."""


def orders(text: str) -> list[UUID]:
    """Return ids of orders whose id, client order id or transaction hash begins with this text."""
    text = text.strip()
    by_client = Order.objects.filter(client_order_id__startswith=text).values_list("pk", flat=True)
    # Attempts, not the order's own hash: they know the earlier transactions of an order that was retried, too.
    by_hash = Attempt.objects.filter(signature__startswith=text).values_list("order_id", flat=True)
    return [*by_id(text), *by_client[:FOUND_MAX], *by_hash[:FOUND_MAX]]


def by_id(text: str) -> list[UUID]:
    """Return ids of orders whose id begins with this text."""
    # A range and not LIKE: Postgres would have to turn every id into text first.
    digits = text.replace("-", "").lower()
    if not re.fullmatch("[0-9a-f]{1,32}", digits):
        return []
    lowest, highest = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    return list(
        Order.objects.filter(pk__range=(lowest, highest)).order_by("-pk").values_list("pk", flat=True)[:FOUND_MAX]
    )
