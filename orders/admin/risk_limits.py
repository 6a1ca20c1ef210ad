"""Risk limits: their values, who changed them and why; changing one, or resetting it to the environment's, logged."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminTextInputWidget

from engine.risk_limits import TABLE
from orders.admin.readonly import ReadOnly
from orders.admin.wording import moment
from orders.models import Guard
from orders.operations import risk_limits
from orders.operations.words import NOTHING
from routing.risk_limits import defaults

LIST = "admin:orders_guard_changelist"


class RiskLimitForm(forms.ModelForm):  # type: ignore[type-arg]
    """The new value, and the reason."""

    value = forms.IntegerField(required=False, widget=UnfoldAdminTextInputWidget({"inputmode": "numeric"}))
    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget({"placeholder": "for the audit log"}))

    class Meta:
        model = Guard
        fields = ("value", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["reason"] = ""
        known, default = TABLE[self.instance.name], defaults()[self.instance.name]
        # A user who may only view has no `value` field.
        if "value" in self.fields:
            self.fields["value"].label = f"{self.instance.name} ({known.unit})"
            self.fields[
                "value"
            ].help_text = f"A whole number from {known.low} to {known.high}. Leave empty for the default, {default}."

    def clean(self) -> dict[str, Any]:
        """Accept only a value that the risk limit can take."""
        given = super().clean() or self.cleaned_data
        if "value" in given:
            try:
                risk_limits.planned(self.instance.name, given["value"])
            except risk_limits.CannotMove as reason:
                self.add_error("value", str(reason))
        return given


class All(ChangeList):  # type: ignore[misc]
    """A list of every risk limit, changed or not."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows, and add unsaved ones for the limits that have none."""
        rows, given = Guard.objects.in_bulk(), defaults()
        self.result_list = [rows.get(name) or Guard(name=name, value=given[name]) for name in TABLE]
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count, self.show_admin_actions = False, False
        self.can_show_all, self.multi_page = False, False


def is_moved(limit: Guard) -> bool:
    """Tell whether an operator has changed it: only then does it have a row."""
    return not limit._state.adding


@admin.register(Guard)
class RiskLimitAdmin(ReadOnly):
    """The risk limits that an operator may change while the engine runs."""

    form = RiskLimitForm
    list_display = ("name", "now", "default", "bounds", "about", "by", "since", "reason", "back")
    list_before_template = "admin/orders/guard/before.html"
    fields = ("about", "effect", "default", "value", "reason")
    readonly_fields = ("about", "effect", "default")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Require the `change_guard` permission."""
        return request.user.has_perm("orders.change_guard")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return All

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Guard | None:
        """Return a risk limit, changed or not."""
        if object_id not in TABLE:
            return None
        return Guard.objects.filter(pk=object_id).first() or Guard(name=object_id, value=defaults()[object_id])

    def get_urls(self) -> list[URLPattern]:
        """Add the URL that the buttons in the list post to."""
        view = self.admin_site.admin_view(self.back_view)
        return [path("<str:name>/default/", view, name="orders_guard_default"), *super().get_urls()]

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Show the reset button only to users who may change limits."""
        return self.list_display if self.has_change_permission(request) else self.list_display[:-1]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the risk limits; warn of stored changes that are not applied."""
        if idle := risk_limits.idle():
            messages.warning(
                request,
                f"{', '.join(idle)}: the change contradicts the environment's values, which apply instead. "
                "Change the value again, or reset it to the default.",
            )
        page: HttpResponse = super().changelist_view(request, extra_context)
        return page

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show or process the form; report a change that another user's change has made impossible."""
        try:
            page: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except risk_limits.CannotMove as reason:
            messages.error(request, f"Not changed: {reason}.")
            return HttpResponseRedirect(reverse(LIST))
        return page

    def save_model(self, request: HttpRequest, obj: Guard, form: Any, change: bool) -> None:
        given = form.cleaned_data
        form.made = risk_limits.move(obj.name, given["value"], given["reason"], request.user.get_username())

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> str:
        """Log the old value, the new value and the reason."""
        return f"Changed {form.made}: {form.cleaned_data['reason']}"

    def response_change(self, request: HttpRequest, obj: Guard) -> HttpResponse:
        messages.success(request, f"{obj} is changed; every process applies it within about a second.")
        return HttpResponseRedirect(reverse(LIST))

    def back_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Reset one to the environment's value, and return to the list."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        if name not in TABLE:
            raise Http404(f"there is no risk limit {name}")
        self.move_back(request, Guard.objects.filter(pk=name).first() or Guard(name=name))
        return HttpResponseRedirect(reverse(LIST))

    def move_back(self, request: HttpRequest, row: Guard) -> None:
        """Reset a risk limit and log it, or report why it cannot be reset."""
        try:
            made = risk_limits.move(row.name, None, "reset to the default", request.user.get_username())
        except risk_limits.CannotMove as reason:
            messages.error(request, f"{reason}.")
            return
        self.log_change(request, row, f"Changed {made}; {row.by} had changed it: {row.reason}")
        messages.success(request, f"{row} is changed {made}.")

    @admin.display
    def now(self, limit: Guard) -> SafeString | str:
        """Show the current value, and whether an operator set it."""
        text = f"{limit.value:,} {TABLE[limit.name].unit}"
        return format_html('{} <span class="badge pending">changed</span>', text) if is_moved(limit) else text

    @admin.display
    def default(self, limit: Guard) -> str:
        """Show the environment's value."""
        return f"{defaults()[limit.name]:,}"

    @admin.display
    def bounds(self, limit: Guard) -> str:
        return f"{TABLE[limit.name].low:,} to {TABLE[limit.name].high:,}"

    @admin.display(description="description")
    def about(self, limit: Guard) -> str:
        return TABLE[limit.name].about

    @admin.display(description="effect of a change")
    def effect(self, limit: Guard) -> str:
        """Show what an operator should know before changing it."""
        return TABLE[limit.name].effect

    @admin.display(description="since (UTC)")
    def since(self, limit: Guard) -> str:
        return moment(limit.moved_at) if is_moved(limit) else NOTHING

    @admin.display(description="")
    def back(self, limit: Guard) -> SafeString | str:
        """Show the reset button. The list is a form, whose CSRF token the button sends along."""
        if not is_moved(limit):
            return ""
        address = reverse("admin:orders_guard_default", args=[limit.name])
        return format_html(
            '<button type="submit" class="act quiet" formaction="{}" aria-label="Reset to default: {}">'
            "Reset to default</button>",
            address,
            limit,
        )
