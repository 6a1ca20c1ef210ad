"""The page that cancels many resting orders: first how many match, then, with a reason, the cancellation."""

from datetime import timedelta
from time import monotonic
from typing import Any

import structlog
from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from engine.orders import OrderType
from orders.admin.readonly import ReadOnly
from orders.admin.recorded import note, reason_of
from orders.flow.waiting import Cancelled
from orders.operations import bulk_cancels
from orders.operations.bulk_cancels import KINDS, CannotMatch, Terms
from routing import away
from routing.catalogue import catalogue
from routing.store import StoreError

log = structlog.get_logger(__name__)

WITHIN_S = 8.0
"""How long one request cancels; what is left is for the next one."""
AGES = {"": "any age", "300": "older than 5 minutes", "3600": "older than an hour", "86400": "older than a day"} | {
    "604800": "older than a week"
}
NAMES = ("owner", "pair", "type", "older")
PAGE = "admin:orders_order_cancel"
REASON = UnfoldAdminTextInputWidget(
    {"placeholder": "shown to the owners of the orders, and in the audit log", "required": True, "maxlength": 200}
)


def pairs() -> list[tuple[str, str]]:
    return [("", "any pair"), *((name, name) for name in sorted(catalogue().pairs))]


class TermsForm(forms.Form):
    """Which resting orders."""

    owner = forms.CharField(
        required=False, max_length=150, widget=UnfoldAdminTextInputWidget({"placeholder": "any user"})
    )
    pair = forms.ChoiceField(required=False, choices=pairs, widget=UnfoldAdminSelectWidget)
    type = forms.ChoiceField(
        required=False, choices=[("", "any type"), *((kind, kind) for kind in KINDS)], widget=UnfoldAdminSelectWidget
    )
    older = forms.ChoiceField(required=False, choices=list(AGES.items()), widget=UnfoldAdminSelectWidget)

    def clean(self) -> dict[str, Any]:
        """Refuse an owner that there is not."""
        given = self.cleaned_data
        if not self.errors:
            before = bulk_cancels.older_than(timedelta(seconds=int(given["older"]))) if given["older"] else None
            kind = OrderType(given["type"]) if given["type"] else None
            terms = given["terms"] = Terms(given["owner"], given["pair"], kind, before)
            try:
                bulk_cancels.matching(terms)
            except CannotMatch as reason:
                self.add_error(None, str(reason))
        return given


class CancelsMany(ReadOnly):
    """A list of orders with a page that cancels those that rest and match."""

    def get_urls(self) -> list[URLPattern]:
        """Add the page."""
        view = self.admin_site.admin_view(self.cancel_view)
        return [path("cancel/", view, name="orders_order_cancel"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Lead to the page, with the filters of the list that it knows."""
        more = extra_context or {}
        if self.has_cancel_permission(request):
            asked = {"pair": request.GET.get("pair"), "type": request.GET.get("type__exact")}
            chosen = urlencode({name: value for name, value in asked.items() if value in (*KINDS, *catalogue().pairs)})
            more = more | {"cancel_page": f"{reverse(PAGE)}?{chosen}"}
        page: HttpResponse = super().changelist_view(request, more)
        return page

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Require permission to change orders; permission to view them is not enough."""
        return request.user.has_perm("orders.change_order")

    def cancel_view(self, request: HttpRequest) -> HttpResponse:
        """Show how many orders match; cancel them when that is confirmed with a reason."""
        if not self.has_cancel_permission(request):
            raise PermissionDenied
        form = TermsForm(request.POST if request.method == "POST" else request.GET)
        if request.method == "POST" and form.is_valid():
            self.cancel_matching(request, form.cleaned_data["terms"])
            asked = urlencode({name: form.cleaned_data[name] for name in NAMES} | {"reason": reason_of(request)})
            return HttpResponseRedirect(f"{reverse(PAGE)}?{asked}")
        context = {"title": "Cancel resting orders", "form": form, "opts": self.opts}
        if form.is_valid():
            given, found = form.cleaned_data, bulk_cancels.count(form.cleaned_data["terms"])
            context |= {"terms": given["terms"], "given": [(name, given[name]) for name in NAMES], "found": found}
            context |= {
                "counted": bulk_cancels.counted(found),
                "reason": REASON.render("reason", request.GET.get("reason", "")),
            }
        page = self.admin_site.each_context(request) | context
        return TemplateResponse(request, "admin/orders/order/cancel.html", page)

    def cancel_matching(self, request: HttpRequest, terms: Terms) -> None:
        """Cancel for WITHIN_S at most; say what was done and put it on record, however it ends."""
        reason, done = reason_of(request), Cancelled(0, 0, complete=False)
        if not reason:
            messages.error(request, "Nothing is cancelled: give a reason.")
            return
        deadline = monotonic() + WITHIN_S
        try:
            pages = bulk_cancels.cancel(terms, reason)
            while not done.complete and monotonic() <= deadline:
                done = next(pages)
        except (StoreError, DatabaseError) as gone:
            log.warning("orders not cancelled, a store is unavailable", terms=str(terms), reason=str(gone))
            messages.error(request, f"A store is unavailable: {away.why(gone)}.")
        outcome = bulk_cancels.outcome(done)
        (messages.success if done.complete else messages.warning)(request, f"{outcome} ({terms}).")
        note(request, "cancel resting orders", terms, outcome)
