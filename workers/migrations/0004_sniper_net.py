"""The sniper worker's own duty matches events twenty times a second; beat is the net below it, and may be slower."""

from django.db import migrations

TASK, BEFORE, NOW = "sniper.match", 500_000, 5_000_000


def pace(frm, to):
    def change(apps, schema_editor):
        interval = apps.get_model("django_celery_beat", "IntervalSchedule")
        periodic = apps.get_model("django_celery_beat", "PeriodicTask")
        every, _ = interval.objects.get_or_create(every=to, period="microseconds")
        # A pace that an operator has chosen stays.
        periodic.objects.filter(name=TASK, interval__every=frm, interval__period="microseconds").update(
            interval=every, expire_seconds=max(1, to // 1_000_000)
        )

    return change


class Migration(migrations.Migration):
    dependencies = [("workers", "0003_retention")]
    operations = [migrations.RunPython(pace(BEFORE, NOW), pace(NOW, BEFORE))]
