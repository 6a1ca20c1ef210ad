"""Shared worker code: tasks with a log context, and background threads that run beside the tasks."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import structlog
from celery import Task, signals

from orders.flow.dispatch import LIFE, QUEUES, SENT_AT
from orders.operations.heartbeats import Heart
from orders.telemetry import traces
from orders.telemetry.log_fields import about
from routing.store import now_ms

log = structlog.get_logger(__name__)


class EngineTask(Task):  # type: ignore[type-arg]
    """Binds the task's id to every log line written while it runs, and traces it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task in its log context, which includes the order id if there is only one.

        A message older than its lifetime is dropped.
        """
        order_ids, sent_at = kwargs.get("order_ids") or [], self.request.get(SENT_AT)
        waited_ms = None if sent_at is None else max(0, now_ms() - sent_at)
        life_ms = self.request.get(LIFE)
        if waited_ms is not None and life_ms is not None and waited_ms > life_ms:
            log.debug("message expired", task=self.name, waited_ms=waited_ms)
            return None
        single = about(order_ids) if len(order_ids) == 1 else {}
        with (
            structlog.contextvars.bound_contextvars(task_id=self.request.id, task=self.name, **single),
            traces.processing(self.name, self.request, order_ids, waited_ms),
        ):
            if order_ids:
                # This line links an order's id to its batch's task id, which every line of the batch carries.
                log.info("orders picked up", waited_ms=waited_ms, **about(order_ids))
            return super().__call__(*args, **kwargs)


class Companion(Protocol):
    """A background thread that can be stopped."""

    def start(self) -> None:
        """Start the thread."""
        ...

    def stop(self) -> None:
        """Stop once the work in progress is finished."""
        ...


class Beside:
    """Runs a background thread in the worker of a queue, from when the worker is ready until after its last task."""

    def __init__(self, queue: str, make: Callable[[], Companion]) -> None:
        self.queue = queue
        self.make = make
        self.thread: Companion | None = None
        # Celery identifies a receiver by its function, which all instances share, so each needs its own dispatch_uid.
        signals.worker_ready.connect(self.start, weak=False, dispatch_uid=f"{id(self)} start")
        signals.worker_shutdown.connect(self.stop, weak=False, dispatch_uid=f"{id(self)} stop")

    def start(self, sender: Any, **_: object) -> None:
        """Start the thread if this worker consumes its queue."""
        if self.queue in sender.app.amqp.queues.consume_from:
            self.thread = self.make()
            self.thread.start()

    def stop(self, **_: object) -> None:
        """Stop the thread before the process closes its connections."""
        if self.thread:
            self.thread.stop()


hearts = [Beside(queue, partial(Heart, queue)) for queue in QUEUES]
"""Heartbeats: every worker process reports that it is alive, for each queue it consumes."""


@signals.worker_ready.connect
def flush_at_the_end(**_: object) -> None:
    """Flush the last spans when the worker shuts down.

    The handler is connected last, so that it runs after every background thread has stopped.
    """
    signals.worker_shutdown.connect(traces.flush)
