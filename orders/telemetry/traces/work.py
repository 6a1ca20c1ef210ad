"""Spans of work on batches of orders, and of the messages that cause it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, get_current_span, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from orders.telemetry.traces.calls import call, listen
from orders.telemetry.traces.spans import NOTHING, Work, below_root, doing, on, sdk, touch

W3C = TraceContextTextMapPropagator()


@contextmanager
def working(
    name: str,
    about: Sequence[str],
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: Context | None = None,
    attributes: dict[str, Any] | None = None,
    found: bool = True,
) -> Iterator[None]:
    """Trace a piece of work; without a parent, work about one order is in its trace."""
    listen()
    if len(about) == 1 and not get_current_span(parent).get_span_context().is_valid:
        parent = below_root(about[0])
    began = time.time_ns()
    here = Work(sdk().tracer.start_span(name, parent, kind, attributes, start_time=began), doing.get(), began)
    here.touch(about if found else ())
    token = doing.set(here)
    try:
        with use_span(here.span, end_on_exit=True):
            try:
                yield
            except Exception as trouble:
                here.error = f"{type(trouble).__name__}: {trouble}"
                raise
            finally:
                here.show(name)
    finally:
        doing.reset(token)
        here.release()


def work(name: str, order_ids: Sequence[str] = (), *, found: bool = True) -> AbstractContextManager[None]:
    """Trace a piece of work on these orders, and on all that it accepts, moves, wakes or writes to Postgres.

    Orders that are not yet `found` to be new are involved only once they are accepted.
    """
    return working(name, order_ids, found=found) if on() else NOTHING


def publishing(task: str, task_id: str, order_ids: Sequence[str]) -> AbstractContextManager[dict[str, str] | None]:
    """Trace the sending of a message; yield the headers that make the work it causes part of this trace."""
    return published(task, task_id, order_ids) if on() and (order_ids or doing.get()) else NOTHING


@contextmanager
def published(task: str, task_id: str, order_ids: Sequence[str]) -> Iterator[dict[str, str]]:
    """Trace the sending as part of the current work, or as work of its own."""
    name, facts, kind = f"publish {task.partition('.')[0]}", messaging(task, task_id, "publish"), SpanKind.PRODUCER
    touch(order_ids)
    with call(name, facts, kind) if doing.get() else working(name, order_ids, kind, attributes=facts):
        headers: dict[str, str] = {}
        # Work that has involved no order so far may never be sent; its receiver's must not hang below it.
        if (here := doing.get()) and here.traced:
            W3C.inject(headers)
        yield headers


def processing(
    task: str, request: Any, order_ids: Sequence[str], waited_ms: int | None
) -> AbstractContextManager[None]:
    """Trace a worker's processing of a message; `request` has its headers."""
    if not on():
        return NOTHING
    facts = messaging(task, request.id, "process")
    if waited_ms is not None:
        facts["messaging.celery.waited_ms"] = waited_ms
    name, parent = f"process {task.partition('.')[0]}", W3C.extract(request)
    return working(name, order_ids, SpanKind.CONSUMER, parent=parent, attributes=facts)


def messaging(task: str, task_id: str, operation: str) -> dict[str, Any]:
    """Return a message's attributes, following the semantic conventions for messaging."""
    return {
        "messaging.system": "celery",
        "messaging.destination.name": task.partition(".")[0],
        "messaging.operation.name": operation,
        "messaging.operation.type": "send" if operation == "publish" else operation,
        "messaging.message.id": task_id,
        "celery.task": task,
    }
