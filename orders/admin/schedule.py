"""Beat's schedule: the polling interval, the other tasks' intervals, and tasks that may be off for a while."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django_celery_beat import models
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from orders.admin.readonly import ReadOnly
from orders.flow import dispatch
from orders.operations import schedule

LIST = "admin:django_celery_beat_periodictask_changelist"

# Interval rows are shared: editing one would change all its tasks. The other kinds of schedule are not used.
for known in (
    *(models.PeriodicTask, models.IntervalSchedule, models.CrontabSchedule),
    *(models.SolarSchedule, models.ClockedSchedule),
):
    admin.site.unregister(known)


class TaskForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new interval, or on and off, and the reason."""

    every_ms = forms.IntegerField(
        label="Interval (ms)",
        widget=UnfoldAdminTextInputWidget({"inputmode": "numeric"}),
        help_text=f"A whole number from {schedule.POLL_MIN_MS} to {schedule.POLL_MAX_MS}, not above QUOTE_FRESH_MS. "
        "Beat applies it within about a second; message expiry and the watchdog follow it.",
    )
    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget({"placeholder": "for the audit log"}))

    class Meta:
        model = models.PeriodicTask
        fields = ("enabled",)
        widgets = {"enabled": UnfoldBooleanSwitchWidget}
        labels = {"enabled": "On"}
        help_texts = {"enabled": "When off, beat does not send it."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["every_ms"] = schedule.interval_ms(self.instance)
        if self.instance.name != dispatch.POLL:
            del self.fields["every_ms"]

    def clean(self) -> dict[str, Any]:
        """Accept only a schedule that the engine can work with."""
        given = super().clean() or self.cleaned_data
        if self.errors:
            return given
        kept = models.PeriodicTask.objects.select_related("interval").get(pk=self.instance.pk)
        try:
            schedule.refuse(kept, given.get("every_ms"), enabled=given.get("enabled", kept.enabled))
        except schedule.CannotSchedule as reason:
            self.add_error(next(iter(self.fields)), str(reason))
        return given


@admin.register(models.PeriodicTask)
class Tasks(ReadOnly):
    """The tasks that beat sends, and how often."""

    form = TaskForm
    list_display = ("task_name", "state", "every", "role")
    list_select_related = ("interval",)
    ordering = ("name",)
    readonly_fields = ("task_name", "role", "state", "every")

    def get_fields(self, request: HttpRequest, obj: models.PeriodicTask | None = None) -> tuple[str, ...]:
        """Offer the fields of this task that can be changed, and none to users who may not change it."""
        told = ("task_name", "role", "state", "every")
        if obj is None or not self.has_change_permission(request, obj):
            return told
        return (*told, "every_ms" if obj.name == dispatch.POLL else "enabled", "reason")

    def has_change_permission(self, request: HttpRequest, obj: models.PeriodicTask | None = None) -> bool:
        """Require the permission, and a task that can be changed."""
        can = obj is None or obj.name == dispatch.POLL or schedule.may_rest(obj)
        return can and request.user.has_perm("django_celery_beat.change_periodictask")

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show or process the form; report a change that another user's change has made impossible."""
        try:
            page: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except schedule.CannotSchedule as reason:
            messages.error(request, f"Not changed: {reason}.")
            return HttpResponseRedirect(reverse(LIST))
        return page

    def save_model(self, request: HttpRequest, obj: models.PeriodicTask, form: Any, change: bool) -> None:
        given = form.cleaned_data
        form.made = schedule.change(
            obj.pk,
            given.get("every_ms"),
            enabled=given.get("enabled", obj.enabled),
            reason=given["reason"],
            by=request.user.get_username(),
        )

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> str:
        """Log the old state, the new state and the reason."""
        return f"Changed {form.made}: {form.cleaned_data['reason']}"

    def response_change(self, request: HttpRequest, obj: models.PeriodicTask) -> HttpResponse:
        messages.success(request, f"{obj.name} is changed; beat applies it within about a second.")
        return HttpResponseRedirect(reverse(LIST))

    @admin.display(description="task")
    def task_name(self, task: models.PeriodicTask) -> str:
        return str(task.name)

    @admin.display
    def state(self, task: models.PeriodicTask) -> str:
        return schedule.state(task.enabled)

    @admin.display(description="interval")
    def every(self, task: models.PeriodicTask) -> str:
        """Show how often it is sent."""
        return schedule.pace(task)

    @admin.display(description="purpose")
    def role(self, task: models.PeriodicTask) -> str:
        """Show what it does, and why it may or may not be off."""
        return schedule.ROLES.get(task.name, "Not one of the engine's own tasks.")
