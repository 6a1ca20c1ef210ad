"""The archive: orders that ended long ago, each with its timeline."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from orders.admin import search, timeline
from orders.admin.readonly import ReadOnly
from orders.admin.wording import badge, moment
from orders.models import ArchivedOrder, Attempt
from orders.operations.words import NOTHING, asked, bought
from orders.stores import history, retired


@admin.register(ArchivedOrder)
class ArchivedOrderAdmin(ReadOnly):
    """Archived orders: their terms, attempts and outcome."""

    list_display = ("id", "client_order_id", "tx_hash", "archived")
    search_fields = ("id",)
    search_help_text = "An order id, client order id or last transaction hash, or its beginning."
    fields = (
        ("asked", "standing", "created"),
        ("client_order_id", "tx_hash", "archived"),
        ("replay_of", "dead"),
        "transactions",
    )
    compressed_fields = False
    readonly_fields = (*(name for row in fields[:3] for name in row), "transactions")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ArchivedOrder]:
        """Defer the JSON documents: a list shows none of them."""
        rows: QuerySet[ArchivedOrder] = super().get_queryset(request)
        return rows.defer("columns", "events", "attempts", "letter")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ArchivedOrder], search_term: str
    ) -> tuple[QuerySet[ArchivedOrder], bool]:
        """Find orders by a prefix of one of their ids."""
        return (queryset.filter(pk__in=search.archived(search_term)) if search_term else queryset), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add the timeline to the page."""
        context["timeline"] = timeline.told(history.of_archived(context["original"]))
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return page

    @admin.display
    def asked(self, kept: ArchivedOrder) -> str:
        """Show its type, pair and amount sold."""
        order = retired.order(kept)
        return f"{order.type} {order.pair}, {asked(order)}"

    @admin.display(description="status")
    def standing(self, kept: ArchivedOrder) -> SafeString:
        """Show its final status."""
        return badge(retired.order(kept).status)

    @admin.display(description="created (UTC)")
    def created(self, kept: ArchivedOrder) -> str:
        """Show when it was accepted."""
        return moment(retired.order(kept).created_at)

    @admin.display(description="archived (UTC)")
    def archived(self, kept: ArchivedOrder) -> str:
        return moment(kept.archived_at)

    @admin.display(description="dead letter")
    def dead(self, kept: ArchivedOrder) -> str:
        """Show why it failed, and when it was replayed."""
        letter = retired.letter(kept)
        if letter is None:
            return NOTHING
        again = f"; replayed {moment(letter.replayed_at)} by {letter.replayed_by}" if letter.replayed_at else ""
        return f"{letter.code}: {letter.reason}{again}"

    @admin.display
    def transactions(self, kept: ArchivedOrder) -> SafeString | str:
        """Show its attempts, one per line."""
        pair = retired.order(kept).pair
        lines = ((line(attempt, pair),) for attempt in retired.attempts(kept))
        return format_html_join("", "<div>{}</div>", lines) or NOTHING


def line(attempt: Attempt, pair: str) -> str:
    out = f", paid {bought(attempt.amount_out, pair)}" if attempt.amount_out else ""
    why = f", {attempt.error_code}: {attempt.error}" if attempt.error_code else ""
    return f"{attempt.number}. {attempt.state} at {attempt.venue}: {attempt.signature}{out}{why}"
