"""Pauses: what is paused, by whom and why; pausing and resuming are both logged."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from orders.admin.readonly import ReadOnly
from orders.admin.wording import moment
from orders.flow import pauses
from orders.models import Pause, Scope
from routing.catalogue import catalogue
from routing.venues import VENUES

LIST = "admin:orders_pause_changelist"


def choices() -> list[tuple[str, Any]]:
    """Return what can be paused."""
    return [
        ("", "choose"),
        (f"{Scope.EVERYTHING}:", "everything"),
        ("A venue", [(f"{Scope.VENUE}:{name}", name) for name in VENUES]),
        ("A pair", [(f"{Scope.PAIR}:{name}", name) for name in sorted(catalogue().active)]),
    ]


class PauseForm(forms.ModelForm):  # type: ignore[type-arg]
    """What to pause, and why."""

    what = forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget)
    reason = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget({"placeholder": "shown to refused clients, and in the audit log"}),
    )

    class Meta:
        model = Pause
        fields = ("reason",)

    def clean_what(self) -> tuple[str, str]:
        """Parse scope and name, and refuse what cannot be paused."""
        scope, _, name = str(self.cleaned_data["what"]).partition(":")
        try:
            pauses.refuse(scope, name)
        except pauses.CannotPause as reason:
            raise forms.ValidationError(str(reason)) from None
        return scope, name


@admin.register(Pause)
class PauseAdmin(ReadOnly):
    """Current pauses; earlier ones are in the audit log."""

    form = PauseForm
    list_display = ("what", "reason", "by", "since", "end")
    fields = ("what", "reason")
    list_display_links = None
    list_before_template = "admin/orders/pause/before.html"
    actions = ("resume_selected",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Require permission to add pauses."""
        return request.user.has_perm("orders.add_pause")

    def has_resume_permission(self, request: HttpRequest) -> bool:
        """Require permission to delete pauses."""
        return request.user.has_perm("orders.delete_pause")

    def get_urls(self) -> list[URLPattern]:
        """Add the URL that the buttons in the list post to."""
        view = self.admin_site.admin_view(self.resume_view)
        urls: list[URLPattern] = super().get_urls()
        return [path("<int:pk>/resume/", view, name="orders_pause_resume"), *urls]

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Show the resume button only to users who may resume."""
        return self.list_display if self.has_resume_permission(request) else self.list_display[:-1]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show what is paused, with a form to pause more."""
        form = PauseForm() if self.has_add_permission(request) else None
        page: HttpResponse = super().changelist_view(request, {**(extra_context or {}), "pause_form": form})
        return page

    def save_model(self, request: HttpRequest, obj: Pause, form: Any, change: bool) -> None:
        scope, name = form.cleaned_data["what"]
        row = pauses.pause(scope, name, form.cleaned_data["reason"], request.user.get_username())
        obj.pk, obj.scope, obj.name, obj.by = row.pk, row.scope, row.name, row.by

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> str:
        """Log the reason."""
        return f"Paused: {form.cleaned_data['reason']}"

    def response_add(self, request: HttpRequest, obj: Pause, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(request, f"{obj} is paused: {obj.reason}")
        return HttpResponseRedirect(reverse(LIST))

    @admin.action(description="Resume", permissions=["resume"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Pause]) -> None:
        """Resume the selected pauses of this page."""
        for row in queryset[: self.list_per_page]:
            self.resume(request, row)

    def resume_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Resume one, and return to the list."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_resume_permission(request):
            raise PermissionDenied
        self.resume(request, get_object_or_404(Pause, pk=pk))
        return HttpResponseRedirect(reverse(LIST))

    def resume(self, request: HttpRequest, row: Pause) -> None:
        """End a pause, and log it."""
        self.log_change(request, row, f"Resumed; {row.by} had paused it: {row.reason}")
        pauses.resume(row, request.user.get_username())
        messages.success(request, f"{row} is resumed.")

    @admin.display(description="paused")
    def what(self, row: Pause) -> str:
        return str(row) if row.scope == Scope.EVERYTHING else f"{row.scope} {row.name}"

    @admin.display(description="")
    def end(self, row: Pause) -> SafeString:
        """Show the resume button. The list is a form, whose CSRF token the button sends along."""
        address = reverse("admin:orders_pause_resume", args=[row.pk])
        return format_html('<button type="submit" class="act quiet" formaction="{}">Resume</button>', address)

    @admin.display(description="since (UTC)")
    def since(self, row: Pause) -> str:
        return moment(row.created_at)
