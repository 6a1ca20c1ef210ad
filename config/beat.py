"""Beat's scheduler: django-celery-beat's, except in what it writes."""

from typing import Any

from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry


class Entry(ModelEntry):  # type: ignore[misc]
    """A periodic task that keeps to its own columns."""

    def save(self) -> None:
        """Note when it was last sent, and how often.

        The stock one writes the whole row as it was read a moment before, and undoes what an operator changed since.
        """
        PeriodicTask.objects.filter(pk=self.model.pk).update(
            last_run_at=self.model.last_run_at, total_run_count=self.model.total_run_count
        )


class Schedule(DatabaseScheduler):  # type: ignore[misc]
    """The schedule in Postgres."""

    Entry: Any = Entry
    # The stock producer keeps its first connection and never notices that RabbitMQ is back; the pool makes a new one.
    producer: Any = None
