"""Waking workers: tasks are sent by name, so that no room needs to import the workers.

A message says "look at these orders" and nothing more; a lost or repeated one is harmless.
"""

from collections.abc import Sequence

import structlog
from celery import current_app
from kombu.exceptions import KombuError

from routing.store import redis

log = structlog.get_logger(__name__)

QUEUES = ("order", "stream", "dbsync", "dlq")
"""Prefix of the task's name = queue = file in workers/ = process."""

EXECUTE = "order.execute"
RECOVER = "order.recover"
POLL = "stream.poll"
DRAIN = "dbsync.drain"
KEEP = "dlq.keep"

ORDERS_PER_TASK = 100


def send(task: str, order_ids: Sequence[str] = (), expires_s: float | None = None) -> bool:
    """Wake the task's worker, with the orders to look at in groups; False when the broker cannot be reached.

    Failing is not an error for the caller: the sweep finds whatever was not announced.
    """
    groups = [order_ids[i : i + ORDERS_PER_TASK] for i in range(0, len(order_ids), ORDERS_PER_TASK)] or [()]
    try:
        for group in groups:
            wake(task, group, expires_s)
    except (KombuError, OSError) as reason:
        log.warning("worker not woken, the sweep will", task=task, orders=len(order_ids), reason=str(reason))
        return False
    return True


def wake(task: str, order_ids: Sequence[str], expires_s: float | None) -> None:
    """Publish one message."""
    current_app.send_task(
        task,
        kwargs={"order_ids": list(order_ids)} if order_ids else {},
        queue=task.partition(".")[0],
        expires=expires_s,
        ignore_result=True,
        retry=False,
    )


def waiting(queue: str) -> int:
    """Count the messages no worker has taken yet."""
    return int(redis().llen(queue))
