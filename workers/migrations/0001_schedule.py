"""Beat's schedule.

Sub-second intervals are microseconds: django-celery-beat stores `0.5` seconds as 0 and floods.  Every message expires,
and every task is harmless when it comes twice.
"""

from django.db import migrations

SCHEDULE = {
    # task: (interval in microseconds, queue, seconds after which the message is worthless)
    "stream.poll": (500_000, "stream", 1),
    "dbsync.drain": (1_000_000, "dbsync", 2),
    "order.recover": (5_000_000, "order", 5),
    "dlq.keep": (10_000_000, "dlq", 10),
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
    dependencies = [("django_celery_beat", "0019_alter_periodictasks_options")]
    operations = [migrations.RunPython(fill, empty)]
