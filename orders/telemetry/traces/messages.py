"""Spans of sending and processing Celery messages."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import UUID

from orders.telemetry.traces import spans
from orders.telemetry.traces.pieces import Work, called, doing, parent_of
from orders.telemetry.traces.records import Span
from orders.telemetry.traces.spans import NOTHING, on


def message_span(task_id: str) -> int:
    """Return the span id of sending a message: sender and receiver both derive it from the task id."""
    return UUID(task_id).int & (2**64 - 1)


def messaging(task: str, task_id: str, operation: str) -> dict[str, Any]:
    """Return a message's attributes, following the semantic conventions for messaging."""
    return {
        "messaging.system": "celery",
        "messaging.destination.name": task.partition(".")[0],
        "messaging.operation.name": operation,
        "messaging.operation.type": {"publish": "send"}.get(operation, operation),
        "messaging.message.id": task_id,
        "celery.task": task,
    }


def publishing(task: str, task_id: str, order_ids: Sequence[str]) -> AbstractContextManager[None]:
    """Trace the sending of a message about these orders; without orders, as a call of the current work."""
    if order_ids and on():
        return published(task, task_id, order_ids)
    here = doing.get()
    if here is None:
        return NOTHING
    return called(f"publish {task.partition('.')[0]}", messaging(task, task_id, "publish"), here, "PRODUCER")


@contextmanager
def published(task: str, task_id: str, order_ids: Sequence[str]) -> Iterator[None]:
    """Trace the sending of a message as part of the work that sends it."""
    began, error = time.time_ns(), None
    try:
        yield
    except BaseException as trouble:
        error = repr(trouble)[:500]
        raise
    finally:
        facts = messaging(task, task_id, "publish") | {"engine.batch.orders": len(order_ids)}
        name, ended = f"publish {task.partition('.')[0]}", time.time_ns()
        by_parent: dict[int, list[str]] = {}
        for order_id in order_ids:
            by_parent.setdefault(parent_of(order_id, began), []).append(order_id)
        for parent, ids in by_parent.items():
            spans.put(ids, [Span(name, "PRODUCER", message_span(task_id), parent, began, ended, facts, error)])


def processing(
    task: str, task_id: str, order_ids: Collection[str], waited_ms: int | None
) -> AbstractContextManager[Any]:
    """Trace a worker's processing of a message."""
    if not on():
        return NOTHING
    facts = messaging(task, task_id, "process")
    if waited_ms is not None:
        facts["messaging.celery.waited_ms"] = waited_ms
    return Work(f"process {task.partition('.')[0]}", order_ids, "CONSUMER", message_span(task_id), facts)
