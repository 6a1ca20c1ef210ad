"""API keys: made, shown once, rotated and revoked."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminIntegerFieldWidget

from orders.access import keys
from orders.access.callers import OPEN_ORDERS_MAX, Scope
from orders.admin.readonly import ReadOnly
from orders.models import ApiKey

OVERLAP_S = 86_400
USUAL = ("read", "trade", "cancel")
LIMITS = ("orders_per_minute", "open_orders_max")
FIELDS = ("name", "owner", "scopes", *LIMITS, "expires_at")


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

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        good = form.cleaned_data
        scopes = [Scope(scope) for scope in good["scopes"]]
        limits = {name: good[name] for name in LIMITS}
        who = request.user.get_username()
        row, token = keys.issue(good["name"], good["owner"], scopes, good["expires_at"], who, **limits)
        obj.pk, obj.prefix = row.pk, row.prefix
        show_once(request, [(row, token)])

    @admin.action(description="Rotate: a new key; the old one ends in a day", permissions=["end"])
    def rotate_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        who = request.user.get_username()
        show_once(request, [keys.rotate(row, OVERLAP_S, who) for row in queryset.filter(revoked_at=None)])

    @admin.action(description="Revoke at once", permissions=["end"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        rows = list(queryset.filter(revoked_at=None))
        keys.revoke(rows, request.user.get_username())
        for row in rows:
            self.log_change(request, row, "Revoked")
        messages.success(request, f"Revoked: {', '.join(map(str, rows)) or 'none, all had been'}.")


def show_once(request: HttpRequest, made: Iterable[tuple[ApiKey, str]]) -> None:
    for row, token in made:
        messages.warning(request, f"{row}: {token} (shown once; keep it where only its user can read it)")
