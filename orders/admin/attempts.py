"""Attempts: the signed transactions of an order."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.admin import TabularInline

from orders.admin import search
from orders.admin.filters import ByVenue
from orders.admin.readonly import ReadOnly
from orders.admin.wording import link, moment
from orders.models import Attempt
from orders.operations.words import bought, sold

OUTCOME = ("expected", "minimum", "out", "sends")


class Shown:
    """The columns of an attempt, shared by its list and its order's page."""

    @admin.display(description="order")
    def of(self, attempt: Attempt) -> SafeString | str:
        """Link to the order."""
        return link(attempt.order)

    @admin.display
    def sells(self, attempt: Attempt) -> str:
        """Show the amount in: for an exact amount out, the maximum until it has landed."""
        return sold(attempt.amount_in or attempt.order.amount_in, attempt.order.pair)

    @admin.display
    def expected(self, attempt: Attempt) -> str:
        """Show the amount out the quote promised."""
        return bought(attempt.expected_out, attempt.order.pair)

    @admin.display
    def minimum(self, attempt: Attempt) -> str:
        """Show the minimum amount out that was accepted."""
        return bought(attempt.minimum_out, attempt.order.pair)

    @admin.display
    def out(self, attempt: Attempt) -> str:
        """Show the amount out the chain paid."""
        return bought(attempt.amount_out, attempt.order.pair)

    @admin.display(description="created (UTC)")
    def created(self, attempt: Attempt) -> str:
        """Show when it was committed."""
        return moment(attempt.created_at)

    @admin.display(description="last sent (UTC)")
    def sent(self, attempt: Attempt) -> str:
        """Show when its bytes were last broadcast."""
        return moment(attempt.sent_at)

    @admin.display(description="settled (UTC)")
    def settled(self, attempt: Attempt) -> str:
        """Show when the result on chain was learned."""
        return moment(attempt.settled_at)


class AttemptRows(Shown, TabularInline):  # type: ignore[misc]
    """The attempts on their order's page."""

    model = Attempt
    fields = ("number", "state", "venue", "signature", *OUTCOME, "created", "settled", "error")
    readonly_fields = fields
    ordering = ("number",)
    show_change_link = True
    hide_title = True
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Attempt)
class AttemptAdmin(Shown, ReadOnly):
    """Signed transactions, and their results on chain."""

    list_display = ("signature", "of", "number", "state", "venue", *OUTCOME, "created", "error")
    list_filter = ("state", ByVenue)
    list_select_related = ("order",)
    search_fields = ("signature",)
    search_help_text = "The beginning of a transaction hash, an order id or a client order id."
    fields = (
        *("of", "number", "state", "venue", "signature", "sells", *OUTCOME, "fee_bps", "created", "sent", "settled"),
        *("last_valid_height", "slot", "fee_lamports", "error_code", "error"),
    )
    readonly_fields = fields

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Attempt], search_term: str
    ) -> tuple[QuerySet[Attempt], bool]:
        """Find the attempts of orders by a prefix of one of the orders' ids."""
        return (queryset.filter(order__in=search.orders(search_term)) if search_term else queryset), False
