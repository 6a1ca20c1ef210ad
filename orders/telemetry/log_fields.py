"""Fields of log lines: `order_id` for one order, `order_ids` for several, so one id finds every line about it.

`request_id`, or `request_ids`, names the request being served as its answer does.
"""

from collections.abc import Collection, Iterator
from contextvars import ContextVar
from typing import Any

ORDERS_MAX = 100
"""Maximum number of orders on one line; more take further lines."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being served; empty elsewhere."""


def about(order_ids: Collection[str]) -> dict[str, Any]:
    """Return the field that names these orders on a line; empty for no orders."""
    if len(order_ids) == 1:
        return {"order_id": next(iter(order_ids))}
    return {"order_ids": list(order_ids)} if order_ids else {}


def named(order_ids: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield one field per line needed to name these orders."""
    ids = list(order_ids)
    for start in range(0, len(ids), ORDERS_MAX):
        yield about(ids[start : start + ORDERS_MAX])
