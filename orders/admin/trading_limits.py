"""Trading limits: set, with what is used today, and removed; both are logged."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from orders.admin.readonly import ReadOnly
from orders.admin.wording import moment
from orders.models import LimitKind, LimitScope, TradingLimit, TradingLimitUse
from orders.operations import trading_limits
from orders.operations.trading_limits import CannotSet, wanted
from orders.operations.words import NOTHING


class TradingLimitForm(forms.ModelForm):  # type: ignore[type-arg]
    """What is limited, whose, and how far."""

    kind = forms.ChoiceField(choices=LimitKind.choices, widget=UnfoldAdminSelectWidget)
    scope = forms.ChoiceField(choices=LimitScope.choices, label="Of", widget=UnfoldAdminSelectWidget)
    # Not `name`, whose uniqueness Django would check: a limit of the same kind and scope is replaced.
    which = forms.CharField(
        required=False,
        label="Name",
        help_text="The user, the key's prefix, the pair or the token; empty for everything.",
        widget=UnfoldAdminTextInputWidget,
    )
    terms = forms.CharField(
        label="Limit",
        help_text="A whole number in the unit of its kind; of tokens and venues the names that are allowed.",
        widget=UnfoldAdminTextInputWidget,
    )
    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget({"placeholder": "for the audit log"}))

    class Meta:
        model = TradingLimit
        fields = ("reason",)

    def clean(self) -> dict[str, Any]:
        """Refuse a limit that means nothing; one of the same kind and scope is replaced."""
        given = self.cleaned_data
        if not self.errors:
            try:
                given["wanted"] = wanted(given["scope"], given["which"], given["kind"], given["terms"].split())
                given["wanted"].check()
            except CannotSet as reason:
                self.add_error("terms", str(reason))
        return given


@admin.register(TradingLimit)
class TradingLimitAdmin(ReadOnly):
    """The limits in force; earlier ones are in the audit log."""

    form = TradingLimitForm
    list_display = ("kind", "whose", "limit", "used_today", "by", "since", "reason")
    list_display_links = None
    fields = ("kind", "scope", "which", "terms", "reason")
    actions = ("remove_selected",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("orders.add_tradinglimit")

    def has_remove_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("orders.delete_tradinglimit")

    def save_model(self, request: HttpRequest, obj: TradingLimit, form: Any, change: bool) -> None:
        given = form.cleaned_data
        row = trading_limits.put(given["wanted"], given["reason"], request.user.get_username())
        for field in ("pk", "kind", "scope", "name", "value", "allowed"):
            setattr(obj, field, getattr(row, field))

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> str:
        given = form.cleaned_data
        return f"Set to {', '.join(given['wanted'].terms)}"

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(request, f"{obj} is {obj.terms}; every process applies it within about a second.")
        return HttpResponseRedirect(reverse("admin:orders_tradinglimit_changelist"))

    @admin.action(description="Remove", permissions=["remove"])
    def remove_selected(self, request: HttpRequest, queryset: QuerySet[TradingLimit]) -> None:
        """Remove the selected limits of this page."""
        for row in queryset[: self.list_per_page]:
            self.log_change(request, row, f"Removed; {row.by} had set it to {row.terms}: {row.reason}")
            trading_limits.remove(row, request.user.get_username())
            messages.success(request, f"{row} is removed.")

    @admin.display(description="of")
    def whose(self, row: TradingLimit) -> str:
        return row.name or str(row.scope)

    @admin.display
    def limit(self, row: TradingLimit) -> str:
        return row.terms

    @admin.display(description="used today")
    def used_today(self, row: TradingLimit) -> str:
        if row.kind != LimitKind.DAY_VALUE:
            return NOTHING
        use = TradingLimitUse.objects.filter(limit=row, day=timezone.now().date()).first()
        return f"{use.used if use else 0:,.2f}"

    @admin.display(description="since (UTC)")
    def since(self, row: TradingLimit) -> str:
        return moment(row.set_at)
