"""Records kept for investigation: those DBSync set aside, and the sandbox chain's ledger."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from orders.admin.readonly import ReadOnly
from orders.admin.wording import moment
from orders.models import SetAside
from routing.models import LedgerEntry


@admin.register(SetAside)
class SetAsideAdmin(ReadOnly):
    """Records of the feed that DBSync could not write."""

    list_display = ("id", "reason", "beginning", "created")
    fields = ("reason", "record", "created")
    readonly_fields = fields

    @admin.display(description="record")
    def beginning(self, record: SetAside) -> str:
        """Show the record's first characters."""
        return record.record[:80]

    @admin.display(description="created (UTC)")
    def created(self, record: SetAside) -> str:
        return moment(record.created_at)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnly):
    """Transactions the sandbox chain executed."""

    list_display = ("signature", "slot", "landing", "lands", "amount_out", "fee_lamports", "error_code")
    # Like a chain, the ledger is keyed by signature only; no other sort order has an index.
    ordering = ("signature",)
    search_fields = ("signature",)
    search_help_text = "The beginning of a transaction hash."
    fields = ("signature", "slot", "landing", "lands", "amount_out", "fee_lamports", "error_code", "error")
    readonly_fields = fields

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LedgerEntry], search_term: str
    ) -> tuple[QuerySet[LedgerEntry], bool]:
        """Find entries by a prefix of their signature."""
        return queryset.filter(signature__startswith=search_term.strip()), False

    @admin.display(description="lands at (UTC)")
    def lands(self, entry: LedgerEntry) -> str:
        """Show from when the chain knows the transaction."""
        return moment(entry.lands_at)
