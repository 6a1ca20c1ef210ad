"""Rows of the risk limits that operators changed, and their mirror in Redis."""

from django.db import connection, transaction

from orders.models import Guard
from routing import risk_limits as standing


def read() -> dict[str, int]:
    """Return the risk limits that operators changed, by name."""
    return dict(Guard.objects.values_list("name", "value"))


def hold() -> None:
    """Block other changes until this transaction ends: two changes, each valid alone, may contradict each other."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE orders_guard IN SHARE ROW EXCLUSIVE MODE")


def mirror() -> None:
    """Copy the changed risk limits to Redis, where every process reads them.

    Raises StoreError.
    """
    # The lock is held during the write, so that an older reading never overwrites a newer one.
    with transaction.atomic():
        hold()
        standing.mirror(read())
