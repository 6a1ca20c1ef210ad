"""Incident notes: acknowledged on the dashboard, listed here, ended here; each is logged."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from orders.admin.readonly import ReadOnly
from orders.admin.wording import moment
from orders.models import IncidentNote
from orders.operations import incidents

SPANS = {"1": "1 hour", "4": "4 hours", "12": "12 hours", "24": "a day"}


class NoteForm(forms.ModelForm):  # type: ignore[type-arg]
    """What is acknowledged, what is known about it, and for how long."""

    # Django would refuse a second note on a subject, which replaces the first.
    what = forms.CharField(
        max_length=60,
        help_text=f"A part of the dashboard's strip ({', '.join(incidents.PARTS)}), an alert, such as QueueOld, "
        "or an order's id.",
        widget=UnfoldAdminTextInputWidget,
    )
    note = forms.CharField(
        max_length=200,
        help_text="What is known, and what is done about it. The dashboard shows it.",
        widget=UnfoldAdminTextInputWidget,
    )
    hours = forms.ChoiceField(choices=list(SPANS.items()), label="For", widget=UnfoldAdminSelectWidget)

    class Meta:
        model = IncidentNote
        fields = ("note",)

    def clean_what(self) -> str:
        """Refuse what is neither a part, an alert nor an order."""
        try:
            return incidents.known(self.cleaned_data["what"])
        except incidents.UnknownSubject as reason:
            raise forms.ValidationError(str(reason)) from None


@admin.register(IncidentNote)
class IncidentNoteAdmin(ReadOnly):
    """The notes that hold, and those whose time is over; all are in the audit log."""

    form = NoteForm
    list_display = ("subject", "note", "by", "noted", "holds_until")
    list_display_links = None
    fields = ("what", "note", "hours")
    actions = ("end_selected",)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[IncidentNote]":
        """Tell of each note whether it holds, by Postgres' clock."""
        rows: QuerySet[IncidentNote] = super().get_queryset(request)
        return rows.annotate(holds=Q(until__gt=Now()))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Require permission to add notes."""
        return request.user.has_perm("orders.add_incidentnote")

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Require permission to delete notes."""
        return request.user.has_perm("orders.delete_incidentnote")

    def save_model(self, request: HttpRequest, obj: IncidentNote, form: Any, change: bool) -> None:
        given, by = form.cleaned_data, request.user.get_username()
        row = incidents.acknowledge(given["what"], given["note"], by, timedelta(hours=int(given["hours"])))
        obj.pk, obj.subject, obj.until = row.pk, row.subject, row.until

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> str:
        """Log the note and how long it holds."""
        given = form.cleaned_data
        return f"Acknowledged for {SPANS[given['hours']]}: {given['note']}"

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(request, f"{obj} is acknowledged until {moment(obj.until)} UTC.")
        return HttpResponseRedirect(reverse("admin:index"))

    @admin.action(description="End", permissions=["end"])
    def end_selected(self, request: HttpRequest, queryset: QuerySet[IncidentNote]) -> None:
        """End the selected notes of this page."""
        for row in queryset[: self.list_per_page]:
            self.log_change(request, row, f"Ended; {row.by} had noted: {row.note}")
            incidents.end(row, request.user.get_username())
            messages.success(request, f"The note on {row} is ended.")

    @admin.display(description="since (UTC)")
    def noted(self, row: IncidentNote) -> str:
        return moment(row.noted_at)

    @admin.display(description="until (UTC)")
    def holds_until(self, row: Any) -> str:
        return moment(row.until) if row.holds else "over"
