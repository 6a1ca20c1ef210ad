"""Webhooks: where they go, how far behind they are, and why they fail; disabled, enabled and replayed."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminTextInputWidget

from orders.admin.readonly import ReadOnly
from orders.admin.recorded import reason_of
from orders.admin.wording import moment
from orders.models import Webhook, WebhookState
from orders.operations.words import NOTHING
from orders.stores import journal, webhooks

REPLAYED_S = 3_600


class Because(ActionForm):  # type: ignore[misc]
    """An action, and why: for the audit log, and for the owner of a webhook that is stopped."""

    reason = forms.CharField(
        label="",
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget({"placeholder": "reason, told to the owner", "aria-label": "Reason"}),
    )


@admin.register(Webhook)
class Webhooks(ReadOnly):
    """Webhooks; their owners make and delete them by the API."""

    list_display = ("id", "url", "owner", "all_accounts", "state", "lag", "failing", "tried", "last_status", "why")
    list_select_related = ("owner",)
    list_filter = ("state",)
    search_fields = ("url", "owner__username")
    fields = (
        *("url", "owner", "all_accounts", "state", "cursor", "lag", "failures", "failing", "next_at"),
        *("tried", "last_status", "why", "created_at"),
    )
    readonly_fields = fields
    actions = ("stop_selected", "enable_selected", "replay_selected")
    action_form = Because

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Webhook]":
        return webhooks.with_lag(super().get_queryset(request))

    def has_switch_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("orders.change_webhook")

    @admin.action(description="Stop, until an operator enables it", permissions=["switch"])
    def stop_selected(self, request: HttpRequest, queryset: "QuerySet[Webhook]") -> None:
        by, why = request.user.get_username(), reason_of(request)
        if not why:
            messages.error(request, "Not stopped: give a reason, which the owner reads.")
            return
        self.each(request, queryset, "Stopped", lambda rows: webhooks.stop(rows, by, why))

    @admin.action(description="Enable; it goes on where it stopped", permissions=["switch"])
    def enable_selected(self, request: HttpRequest, queryset: "QuerySet[Webhook]") -> None:
        self.each(request, queryset, "Enabled", webhooks.lift)

    @admin.action(description="Send the events of the last hour again", permissions=["switch"])
    def replay_selected(self, request: HttpRequest, queryset: "QuerySet[Webhook]") -> None:
        after = journal.position_ago(REPLAYED_S)
        self.each(request, queryset, f"Replayed after {after}", lambda rows: webhooks.replay(rows, after))

    def each(
        self,
        request: HttpRequest,
        queryset: "QuerySet[Webhook]",
        outcome: str,
        act: "Callable[[QuerySet[Webhook]], Any]",
    ) -> None:
        """Do something with the selected webhooks of this page, and put it on record."""
        for row in queryset[: self.list_per_page]:
            act(Webhook.objects.filter(pk=row.pk))
            self.log_change(request, row, f"{outcome}.")
            messages.success(request, f"{row}: {outcome.lower()}.")

    @admin.display(description="lag")
    def lag(self, row: Any) -> str:
        return f"{row.lag_s:.1f} s" if row.state == WebhookState.ACTIVE else NOTHING

    @admin.display(description="failing since (UTC)")
    def failing(self, row: Webhook) -> str:
        return moment(row.failing_since)

    @admin.display(description="last call (UTC)")
    def tried(self, row: Webhook) -> str:
        return moment(row.last_at)

    @admin.display(description="last error")
    def why(self, row: Webhook) -> str:
        return row.last_error or NOTHING
