"""How log lines name orders: `order_id` for one, `order_ids` for several, so that one id finds every line about it."""

from collections.abc import Collection, Iterator
from typing import Any

ORDERS_MAX = 100
"""Orders that one line names; more take more lines."""


def about(order_ids: Collection[str]) -> dict[str, Any]:
    """Return the field that names these orders on a line; none for no order."""
    if len(order_ids) == 1:
        return {"order_id": next(iter(order_ids))}
    return {"order_ids": list(order_ids)} if order_ids else {}


def named(order_ids: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield the field for each of the lines it takes to name these orders."""
    ids = list(order_ids)
    for start in range(0, len(ids), ORDERS_MAX):
        yield about(ids[start : start + ORDERS_MAX])
