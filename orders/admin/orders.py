"""Orders: the list, and the page that tells one order's story."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from engine.lifecycle import FINAL
from engine.money import MATHS, plain
from orders.admin import search, timeline
from orders.admin.attempts import AttemptRows
from orders.admin.filters import ByAge, ByPair
from orders.admin.readonly import ReadOnly
from orders.admin.timeline import ms_between
from orders.admin.wording import NOTHING, link, moment, seconds, sold
from orders.models import Order


@admin.register(Order)
class OrderAdmin(ReadOnly):
    """What was asked, and what became of it."""

    list_display = ("id", "type", "pair", "amount", "status", "venue", "created", "duration")
    list_filter = ("status", "type", ByAge, ByPair)
    search_fields = ("id",)
    search_help_text = "The beginning of an order id, a client order id or a transaction hash."
    fields = (
        *("id", "type", "pair", "amount", "slippage_bps", "waits_for", "expires", "client_order_id", "created"),
        *("replays", "replayed", "dead"),
    )
    readonly_fields = fields
    inlines = (AttemptRows,)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Find orders by the beginning of one of their ids."""
        return (queryset.filter(pk__in=search.orders(search_term)) if search_term else queryset), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add the timeline to the page."""
        context["timeline"] = timeline.of(context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display
    def amount(self, order: Order) -> str:
        """Show the amount sold in whole tokens."""
        return sold(order.amount_in, order.pair)

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
        """Show until when it waits."""
        return moment(order.expires_at)

    @admin.display(description="created (UTC)")
    def created(self, order: Order) -> str:
        """Show when it was accepted."""
        return moment(order.created_at)

    @admin.display
    def duration(self, order: Order) -> str:
        """Show how long a finished order took."""
        # Two clocks, Postgres' and Redis': a few milliseconds may come out negative.
        return seconds(max(0, ms_between(order.created_at, order.updated_at))) if order.status in FINAL else NOTHING

    @admin.display(description="replay of")
    def replays(self, order: Order) -> SafeString | str:
        """Link to the dead order this one replays."""
        return link(order.replay_of)

    @admin.display(description="replayed as")
    def replayed(self, order: Order) -> SafeString | str:
        """Link to the order that replays this one."""
        return link(order.replayed_as.first())

    @admin.display(description="dead letter")
    def dead(self, order: Order) -> SafeString | str:
        """Link to the order's dead letter."""
        return link(getattr(order, "dead_letter", None))
