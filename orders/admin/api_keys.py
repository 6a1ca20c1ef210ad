"""API keys: made, shown once, rotated and revoked."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminIntegerFieldWidget

from orders.access import keys
from orders.access.callers import OPEN_ORDERS_MAX, Scope
from orders.admin.readonly import ReadOnly
from orders.models import ApiKey

OVERLAP_S = 86_400
USUAL = ("read", "trade", "cancel")
FIELDS = ("name", "owner", "scopes", *keys.LIMITS, "expires_at")


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """Whose key it is, and what it may do."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in Scope], initial=USUAL, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    open_orders_max = forms.IntegerField(
        required=False, min_value=0, initial=OPEN_ORDERS_MAX, widget=UnfoldAdminIntegerFieldWidget
    )

    class Meta:
        model = ApiKey
        fields = FIELDS


@admin.register(ApiKey)
class ApiKeys(ReadOnly):
    """Keys; the secret is shown once, after it is made."""

    form = KeyForm
    list_display = ("name", "prefix", "owner", "may", "created_at", "last_used_at", "expires_at", "revoked_at")
    list_select_related = ("owner",)
    list_display_links = None
    fields = FIELDS
    search_fields = ("name", "prefix", "owner__username")
    actions = ("rotate_selected", "revoke_selected")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("orders.add_apikey")

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("orders.change_apikey")

    @admin.display(description="Scopes")
    def may(self, row: ApiKey) -> str:
        return ", ".join(row.scopes)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        good = form.cleaned_data
        scopes = [Scope(scope) for scope in good["scopes"]]
        limits = {name: good[name] for name in keys.LIMITS}
        who = request.user.get_username()
        row, token = keys.issue(good["name"], good["owner"], scopes, good["expires_at"], who, **limits)
        obj.pk, obj.prefix, obj.token = row.pk, row.prefix, token

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self.shown_once(request, [(obj, obj.token)])

    def shown_once(self, request: HttpRequest, made: Iterable[tuple[ApiKey, str]]) -> HttpResponse:
        """Show keys in this answer and nowhere else: a message would be kept in a cookie or a session."""
        context = {**self.admin_site.each_context(request), "title": "API keys", "made": list(made)}
        return TemplateResponse(request, "admin/orders/apikey/made.html", context)

    @admin.action(description="Rotate: a new key; the old one ends in a day", permissions=["end"])
    def rotate_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse:
        made = []
        for row in queryset:
            try:
                made.append(keys.rotate(row, OVERLAP_S, request.user.get_username()))
                self.log_change(request, row, "Rotated")
            except keys.Ended as reason:
                messages.error(request, str(reason))
        return self.shown_once(request, made)

    @admin.action(description="Revoke at once", permissions=["end"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        rows = list(queryset.filter(revoked_at=None))
        keys.revoke(rows, request.user.get_username())
        for row in rows:
            self.log_change(request, row, "Revoked")
        messages.success(request, f"Revoked: {', '.join(map(str, rows)) or 'none, all had been'}.")
        if left := keys.webhooks_left(rows):
            messages.warning(request, left)
