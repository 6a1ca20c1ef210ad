"""Beat's schedule: how often the engine polls, sweeps and audits, in the theme."""

from django.contrib import admin
from django_celery_beat import models
from django_celery_beat.admin import (
    ClockedScheduleAdmin,
    CrontabScheduleAdmin,
    IntervalScheduleAdmin,
    PeriodicTaskAdmin,
    PeriodicTaskForm,
    SolarScheduleAdmin,
    TaskSelectWidget,
)
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

for known in (
    *(models.PeriodicTask, models.IntervalSchedule, models.CrontabSchedule),
    *(models.SolarSchedule, models.ClockedSchedule),
):
    admin.site.unregister(known)


class ThemedTasks(UnfoldAdminSelectWidget, TaskSelectWidget):  # type: ignore[misc]
    """The list of registered tasks."""


class TaskForm(PeriodicTaskForm):  # type: ignore[misc]
    """A periodic task, with widgets of the theme."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = ThemedTasks()


@admin.register(models.PeriodicTask)
class Tasks(PeriodicTaskAdmin, ModelAdmin):  # type: ignore[misc]
    """What beat sends, and how often."""

    form = TaskForm


@admin.register(models.IntervalSchedule)
class Intervals(IntervalScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    """Every so often."""


@admin.register(models.CrontabSchedule)
class Crontabs(CrontabScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    """At these minutes, hours and days."""


@admin.register(models.SolarSchedule)
class Suns(SolarScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    """At sunrise and the like."""


@admin.register(models.ClockedSchedule)
class Clocks(ClockedScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    """Once, at a time."""
