"""Beat's scheduler: django-celery-beat's, except in what it writes, and in how long its messages live."""

from typing import Any

from django.conf import settings
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from orders.flow import dispatch


class Entry(ModelEntry):  # type: ignore[misc]
    """A periodic task that keeps to its own columns."""

    def __init__(self, model: PeriodicTask, app: Any = None) -> None:
        """Have a message expire by the store's clock.

        Celery's own `expires` is beat's clock against the worker's: where they differ by more than a message lives,
        every one would be thrown away.
        """
        super().__init__(model, app)
        lives_s = model.expire_seconds
        if lives_s and not model.expires:
            del self.options["expires"]
            self.options["headers"][dispatch.LIFE] = lives_s * 1000
            if settings.BROKER_URL:
                # RabbitMQ throws away by its own clock what has waited longer; a Redis list keeps everything.
                self.options["expiration"] = lives_s

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

    def apply_async(self, entry: Entry, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send a message, unless its queue is long already: one that nobody works through must not fill Redis."""
        if not settings.BROKER_URL and dispatch.waiting(entry.task.partition(".")[0]) >= dispatch.LONG:
            return None
        return super().apply_async(entry, producer=producer, advance=advance, **options)
