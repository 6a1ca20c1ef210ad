"""The sending of Celery messages, and what a worker does with them."""

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
    """Return the span id of a message's sending: known to who sends it and to who receives it."""
    return UUID(task_id).int & (2**64 - 1)


def messaging(task: str, task_id: str, operation: str) -> dict[str, Any]:
    """Describe a message as the semantic conventions for messaging do."""
    return {
        "messaging.system": "celery",
        "messaging.destination.name": task.partition(".")[0],
        "messaging.operation.name": operation,
        "messaging.operation.type": {"publish": "send"}.get(operation, operation),
        "messaging.message.id": task_id,
        "celery.task": task,
    }


def publishing(task: str, task_id: str, order_ids: Sequence[str]) -> AbstractContextManager[None]:
    """Trace the sending of a message about these orders; of one that names none, as a call of the work in hand."""
    if order_ids and on():
        return published(task, task_id, order_ids)
    here = doing.get()
    if here is None:
        return NOTHING
    return called(f"publish {task.partition('.')[0]}", messaging(task, task_id, "publish"), here, "PRODUCER")


@contextmanager
def published(task: str, task_id: str, order_ids: Sequence[str]) -> Iterator[None]:
    """Trace the sending of a message: part of the work that sends it."""
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
    """Trace what a worker does with a message."""
    if not on():
        return NOTHING
    facts = messaging(task, task_id, "process")
    if waited_ms is not None:
        facts["messaging.celery.waited_ms"] = waited_ms
    return Work(f"process {task.partition('.')[0]}", order_ids, "CONSUMER", message_span(task_id), facts)
