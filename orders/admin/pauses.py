"""Pauses, halts and `reducing`: what is stopped, by whom and why; stopping and resuming are both logged."""

import time
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from orders.admin.readonly import ReadOnly
from orders.admin.wording import moment
from orders.flow import pauses, waiting
from orders.models import Pause, PauseState, Scope
from routing.catalogue import catalogue
from routing.store import StoreError
from routing.venues import VENUES

LIST = "admin:orders_pause_changelist"


def choices() -> list[tuple[str, Any]]:
    """Return what can be paused."""
    return [
        ("", "choose"),
        (f"{Scope.EVERYTHING}:", "everything"),
        ("A venue", [(f"{Scope.VENUE}:{name}", name) for name in VENUES]),
        ("A pair", [(f"{Scope.PAIR}:{name}", name) for name in sorted(catalogue().active)]),
        ("By name", [(f"{Scope.USER}:", "the user of this name"), (f"{Scope.KEY}:", "the API key of this prefix")]),
    ]


class PauseForm(forms.ModelForm):  # type: ignore[type-arg]
    """What to pause or halt, and why."""

    state = forms.ChoiceField(
        choices=[(PauseState.PAUSED, "Pause"), (PauseState.HALTED, "Halt"), (PauseState.REDUCING, "Reduce")],
        widget=UnfoldAdminSelectWidget,
    )
    what = forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget)
    # Not `name`, whose uniqueness Django would check: a pause of the same scope and name is replaced.
    which = forms.CharField(
        required=False, label="Name", widget=UnfoldAdminTextInputWidget({"placeholder": "of a user or key"})
    )
    reason = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget({"placeholder": "shown to refused clients, and in the audit log"}),
    )

    class Meta:
        model = Pause
        fields = ("reason",)

    cancels_resting = forms.BooleanField(required=False, widget=UnfoldBooleanWidget)

    def clean(self) -> dict[str, Any]:
        """Parse the terms, and refuse what cannot be paused or halted."""
        given = self.cleaned_data
        if not self.errors:
            scope, _, name = str(given["what"]).partition(":")
            name = given["which"].strip() if scope in pauses.SUBJECTS else name
            given |= {"what": (scope, name), "state": PauseState(given["state"])}
            try:
                pauses.refuse(scope, name, given["state"], cancels_resting=given["cancels_resting"])
            except pauses.CannotPause as reason:
                self.add_error("what", str(reason))
        return given


@admin.register(Pause)
class PauseAdmin(ReadOnly):
    """Current pauses and halts; earlier ones are in the audit log."""

    form = PauseForm
    list_display = ("what", "state", "reason", "by", "since", "end")
    fields = ("state", "what", "which", "reason", "cancels_resting")
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
        given, by = form.cleaned_data, request.user.get_username()
        (scope, name), cancels = given["what"], given["cancels_resting"]
        row = pauses.pause(scope, name, given["reason"], by, given["state"], cancels_resting=cancels)
        obj.pk, obj.scope, obj.name, obj.by, obj.state = row.pk, row.scope, row.name, row.by, row.state
        if cancels:
            transaction.on_commit(lambda: self.cancel_resting(request, pauses.stop_of(row)))

    def cancel_resting(self, request: HttpRequest, halt: pauses.Stop) -> None:
        """Cancel what rests under a halt, once every process knows of it."""
        time.sleep(pauses.KNOWN_WITHIN_S)
        try:
            done = waiting.cancel_halted(halt)
        except StoreError as reason:
            messages.error(request, f"Resting orders are left: {reason}. Halt again with the same box ticked.")
            return
        messages.success(request, f"{done.cancelled} resting orders are cancelled.")
        if not done.complete:
            messages.warning(request, "Some are left: halt again with the same box ticked.")

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> str:
        """Log the state, the reason and whether resting orders are cancelled."""
        given = form.cleaned_data
        cancels = " Resting orders are cancelled." if given["cancels_resting"] else ""
        return f"{given['state'].capitalize()}: {given['reason']}{cancels}"

    def response_add(self, request: HttpRequest, obj: Pause, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(request, f"{obj} is {obj.state}: {obj.reason}")
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
        self.log_change(request, row, f"Resumed; {row.by} had {row.done} it: {row.reason}")
        pauses.resume(row, request.user.get_username())
        messages.success(request, f"{row} is resumed.")

    @admin.display(description="what")
    def what(self, row: Pause) -> str:
        return str(row) if row.scope == Scope.EVERYTHING else f"{Scope(row.scope).label} {row.name}"

    @admin.display(description="")
    def end(self, row: Pause) -> SafeString:
        """Show the resume button. The list is a form, whose CSRF token the button sends along."""
        address = reverse("admin:orders_pause_resume", args=[row.pk])
        return format_html('<button type="submit" class="act quiet" formaction="{}">Resume</button>', address)

    @admin.display(description="since (UTC)")
    def since(self, row: Pause) -> str:
        return moment(row.created_at)
