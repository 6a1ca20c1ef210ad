"""Orders: the list, and the page with one order's history."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from engine.lifecycle import FINAL
from engine.money import MATHS, plain
from orders.admin import search, timeline
from orders.admin.attempts import AttemptRows
from orders.admin.bulk_cancels import CancelsMany
from orders.admin.filters import ByAge, ByPair, ByStatus
from orders.admin.timeline import ms_between
from orders.admin.wording import badge, link, moment, seconds
from orders.flow import waiting
from orders.models import ArchivedOrder, Order
from orders.operations import replays
from orders.operations.figures import oldest
from orders.operations.words import NOTHING, asked
from orders.stores import retired
from orders.stores.order_view import uuid_or_none
from routing import away
from routing.store import StoreError

log = structlog.get_logger(__name__)

POINTED_TO = 5
"""Maximum number of archived orders that a search names."""


@admin.register(Order)
class OrderAdmin(CancelsMany):
    """Orders: their terms, attempts and history."""

    list_display = ("id", "type", "pair", "amount", "standing", "venue", "created", "duration", "placed_by")
    list_filter = (ByStatus, "type", ByAge, ByPair)
    search_fields = ("id",)
    search_help_text = "An order id, client order id or transaction hash, or its beginning; or a token or a pair."
    actions = ("cancel_selected",)
    fields = (
        ("type", "pair", "amount"),
        ("slippage_bps", "waits_for", "expires"),
        ("client_order_id", "placed_by", "created"),
        ("replays", "replayed", "dead"),
    )
    # With several fields in a row there is no room for labels beside them.
    compressed_fields = False
    readonly_fields = tuple(name for row in fields for name in row)
    inlines = (AttemptRows,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        """Read the accounts along with the orders."""
        rows: QuerySet[Order] = super().get_queryset(request)
        return rows.select_related("owner")

    def get_urls(self) -> list[URLPattern]:
        """Add the page that alerts about stuck orders lead to."""
        view = self.admin_site.admin_view(self.oldest_view)
        return [path("oldest/", view, name="orders_order_oldest"), *super().get_urls()]

    def oldest_view(self, request: HttpRequest) -> HttpResponse:
        """Lead to the oldest unfinished order that does not rest, or to the list if there is none."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if found := oldest():
            return HttpResponseRedirect(reverse("admin:orders_order_change", args=[found["id"]]))
        messages.info(request, "No order is in progress.")
        return HttpResponseRedirect(reverse("admin:orders_order_changelist"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Find orders by a prefix of one of their ids, a token or a pair; link to archived matches."""
        if search_term and (kept := search.archived(search_term)):
            self.point_to(request, kept)
        return (queryset.filter(pk__in=search.orders(search_term)) if search_term else queryset), False

    def point_to(self, request: HttpRequest, archived: Sequence[UUID]) -> None:
        """Show links to the first few archived orders, and say if there are more."""
        first = format_html_join(", ", "{}", ((link(ArchivedOrder(pk=pk)),) for pk in archived[:POINTED_TO]))
        more = " and more" if len(archived) > POINTED_TO else ""
        messages.info(request, format_html("Among retired orders: {}{}.", first, more))

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show an order's page; redirect to the archive if the order is there."""
        pk = uuid_or_none(object_id)
        if pk and not Order.objects.filter(pk=pk).exists() and retired.find(pk):
            return HttpResponseRedirect(reverse("admin:orders_archivedorder_change", args=[pk]))
        page: HttpResponse = super().change_view(request, object_id, *args, **kwargs)
        return page

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add the timeline to the page."""
        context["timeline"] = timeline.of(context["original"])
        context["log_lines"] = f"grep {context['original'].pk} {settings.DATA_DIR}/logs/*.log"
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return page

    @admin.action(description="Cancel resting orders, and market orders not yet claimed", permissions=["cancel"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        """Cancel the selected orders of this page."""
        # The list offers no "select all"; a crafted request for all is limited to one page.
        for order in queryset[: self.list_per_page]:
            self.cancel(request, order)

    def cancel(self, request: HttpRequest, order: Order) -> None:
        """Cancel one order and log it, or report why it is not cancelled."""
        try:
            waiting.cancel(str(order.pk), f"cancelled by the operator {request.user.get_username()}")
        except waiting.NotResting as won:
            messages.error(request, f"{order} is not cancelled: it is {won.status}.")
        except (StoreError, DatabaseError) as reason:
            log.warning("order not cancelled, a store is unavailable", order_id=str(order.pk), reason=str(reason))
            messages.error(request, f"{order} is not cancelled: a store is unavailable: {away.why(reason)}")
        else:
            self.log_change(request, order, "Cancelled.")
            messages.success(request, format_html("{} is cancelled.", link(order)))

    @admin.display(description="status")
    def standing(self, order: Order) -> SafeString:
        return badge(order.status)

    @admin.display(description="owner")
    def placed_by(self, order: Order) -> str:
        """Show the account that placed it."""
        return replays.owner(order)

    @admin.display
    def amount(self, order: Order) -> str:
        """Show the amount sold in whole tokens."""
        return asked(order)

    @admin.display(description="waits for")
    def waits_for(self, order: Order) -> str:
        """Show the price or the events an order waits for."""
        if order.limit_price is not None:
            return f"a price of {plain(MATHS.normalize(order.limit_price))} or better, {order.time_in_force}"
        asked = [", ".join(map(str, condition.values())) for condition in order.trigger]
        most = [f"at most {plain(MATHS.normalize(order.max_price))} each"] if order.max_price is not None else []
        return "; ".join([*asked, *most]) or NOTHING

    @admin.display(description="expires (UTC)")
    def expires(self, order: Order) -> str:
        return moment(order.expires_at)

    @admin.display(description="created (UTC)")
    def created(self, order: Order) -> str:
        """Show when it was accepted."""
        return moment(order.created_at)

    @admin.display
    def duration(self, order: Order) -> str:
        """Show how long a finished order took."""
        # The clocks of Postgres and Redis differ, so a short duration may come out negative.
        return seconds(max(0, ms_between(order.created_at, order.updated_at))) if order.status in FINAL else NOTHING

    @admin.display(description="replay of")
    def replays(self, order: Order) -> SafeString | str:
        """Link to the failed order that this one replays."""
        return link(order.replay_of)

    @admin.display(description="replayed as")
    def replayed(self, order: Order) -> SafeString | str:
        """Link to the order that replays this one."""
        return link(order.replayed_as.first() or ArchivedOrder.objects.filter(replay_of=order.pk).first())

    @admin.display(description="dead letter")
    def dead(self, order: Order) -> SafeString | str:
        """Link to the order's dead letter."""
        return link(getattr(order, "dead_letter", None))
