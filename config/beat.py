"""Beat's scheduler: django-celery-beat's, except for the columns it writes and how its messages expire.

The schedule itself is rows of django-celery-beat: workers/migrations/0001 to 0004 make them, and the admin shows them.
"""

import time
from typing import Any

from django.conf import settings
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from orders.flow import dispatch

CHANGES_EVERY_S = 0.5
"""How often Postgres is asked whether the schedule has changed."""


class Entry(ModelEntry):  # type: ignore[misc]
    """A periodic task that writes only its own columns."""

    def __init__(self, model: PeriodicTask, app: Any = None) -> None:
        """Make messages expire by the store's clock.

        Celery's own `expires` compares beat's clock with the worker's: if they differ by more than a message's
        lifetime, every message would be discarded.
        """
        super().__init__(model, app)
        lives_s = model.expire_seconds
        if lives_s and not model.expires:
            del self.options["expires"]
            self.options["headers"][dispatch.LIFE] = lives_s * 1000
            if settings.BROKER_URL:
                # RabbitMQ also discards expired messages itself, by its own clock; a Redis list keeps everything.
                self.options["expiration"] = lives_s

    def save(self) -> None:
        """Record when it was last sent, and how often.

        The stock method writes the whole row as it was read a moment before, and undoes an operator's change since.
        """
        PeriodicTask.objects.filter(pk=self.model.pk).update(
            last_run_at=self.model.last_run_at, total_run_count=self.model.total_run_count
        )


class Schedule(DatabaseScheduler):  # type: ignore[misc]
    """The schedule in Postgres."""

    Entry: Any = Entry
    # The stock producer keeps its first connection and never notices that RabbitMQ is back; the pool makes a new one.
    producer: Any = None
    asked_at = float("-inf")

    def adjust(self, n: float | None, drift: float = 0.0) -> float | None:
        """Sleep until the next task is due; the stock scheduler wakes 10 ms early and then asks without a pause."""
        return n

    def schedule_changed(self) -> bool:
        """Ask whether the schedule has changed; the stock scheduler asks at every tick, some ten times a second."""
        if time.monotonic() - self.asked_at < CHANGES_EVERY_S:
            return False
        self.asked_at = time.monotonic()
        return bool(super().schedule_changed())

    def apply_async(self, entry: Entry, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send a message, unless its queue is already long: a queue without workers must not fill Redis."""
        if not settings.BROKER_URL and dispatch.waiting(entry.task.partition(".")[0]) >= dispatch.LONG:
            return None
        return super().apply_async(entry, producer=producer, advance=advance, **options)
