"""What every task has: log context, and a limit on nothing but itself (threads know no Celery time limits)."""

from typing import Any

import structlog
from celery import Task


class EngineTask(Task):  # type: ignore[type-arg]
    """Binds the task's id to every log line written while it runs."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task within its log context."""
        with structlog.contextvars.bound_contextvars(task_id=self.request.id, task=self.name):
            return super().__call__(*args, **kwargs)
