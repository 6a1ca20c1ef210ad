"""Rows of risk limits that operators have moved, and their mirror in Redis."""

from django.db import connection, transaction

from orders.models import Guard
from routing import guards as standing


def read() -> dict[str, int]:
    """Read what operators have moved."""
    return dict(Guard.objects.values_list("name", "value"))


def hold() -> None:
    """Let nobody else move a guard until this transaction ends: two moves that agree alone may not agree together."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE orders_guard IN SHARE ROW EXCLUSIVE MODE")


def mirror() -> None:
    """Write the guards where every process looks.

    Raises StoreError.
    """
    # Held while it is written, so that an older reading never replaces a newer one.
    with transaction.atomic():
        hold()
        standing.mirror(read())
