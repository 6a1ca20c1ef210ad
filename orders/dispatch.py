"""Waking workers: tasks are sent by name, so that no room needs to import the workers.

A message says "look at these orders" and nothing more; a lost or repeated one is harmless.
"""

import json
from collections.abc import Sequence

import structlog
from celery import current_app
from kombu.exceptions import KombuError

from routing.store import now_ms, redis

log = structlog.get_logger(__name__)

QUEUES = ("order", "limit", "sniper", "stream", "dbsync", "dlq")
"""Prefix of the task's name = queue = file in workers/ = process."""

EXECUTE = "order.execute"
RECOVER = "order.recover"
FIRE = "limit.fire"
CHECK = "limit.check"
AUDIT = "limit.audit"
MATCH = "sniper.match"
EVALUATE = "sniper.evaluate"
POLL = "stream.poll"
DRAIN = "dbsync.drain"
KEEP = "dlq.keep"

ORDERS_PER_TASK = 100


def send(task: str, order_ids: Sequence[str] = (), pairs: Sequence[str] = ()) -> bool:
    """Wake the task's worker, with the orders or pairs to look at; False when the broker cannot be reached.

    Failing is not an error for the caller: the sweep finds whatever was not announced.
    """
    groups = [order_ids[i : i + ORDERS_PER_TASK] for i in range(0, len(order_ids), ORDERS_PER_TASK)] or [()]
    try:
        for group in groups:
            wake(task, group, pairs)
    except (KombuError, OSError) as reason:
        log.warning("worker not woken, the sweep will", task=task, orders=len(order_ids), reason=str(reason))
        return False
    return True


def wake(task: str, order_ids: Sequence[str], pairs: Sequence[str]) -> None:
    """Publish one message."""
    named = {"order_ids": list(order_ids), "pairs": list(pairs)}
    current_app.send_task(
        task,
        kwargs={name: values for name, values in named.items() if values},
        queue=task.partition(".")[0],
        ignore_result=True,
        retry=False,
    )


def waiting(queue: str) -> int:
    """Count the messages no worker has taken yet."""
    return int(redis().llen(queue))


def waited_ms(queue: str) -> int:
    """Tell how long the oldest message of a queue has waited (config/celery.py writes on it when it was sent)."""
    oldest = redis().lindex(queue, -1)
    sent_ms = json.loads(str(oldest))["headers"].get("sent_ms") if oldest else None
    return 0 if sent_ms is None else max(0, now_ms() - int(sent_ms))
