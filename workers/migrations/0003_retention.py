"""Beat's part in retention: a batch a second, while there is something to archive."""

from django.db import migrations

SCHEDULE = {
    # task: (interval in microseconds, queue, seconds after which the message is worthless)
    "dlq.retire": (1_000_000, "dlq", 1),
}


def fill(apps, schema_editor):
    interval = apps.get_model("django_celery_beat", "IntervalSchedule")
    periodic = apps.get_model("django_celery_beat", "PeriodicTask")
    changed = apps.get_model("django_celery_beat", "PeriodicTasks")
    from django.utils import timezone

    for task, (micros, queue, expires) in SCHEDULE.items():
        every, _ = interval.objects.get_or_create(every=micros, period="microseconds")
        periodic.objects.get_or_create(
            name=task, defaults={"task": task, "interval": every, "queue": queue, "expire_seconds": expires}
        )
    changed.objects.update_or_create(ident=1, defaults={"last_update": timezone.now()})


def empty(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name__in=SCHEDULE).delete()


class Migration(migrations.Migration):
    dependencies = [("workers", "0002_waiting_orders")]
    operations = [migrations.RunPython(fill, empty)]
