"""The audit log: what operators did, in the admin and by command; nobody changes it."""

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orders.admin.readonly import ReadOnly
from orders.admin.wording import moment
from orders.models import Act


@admin.register(Act)
class AuditAdmin(ReadOnly):
    """Everything an operator changed, replayed, cancelled, paused or resumed, newest first."""

    list_display = ("time", "who", "origin", "what", "which", "outcome", "reason")
    list_display_links = None
    fields = list_display
    readonly_fields = fields
    search_fields = ("who", "origin", "what", "subject", "outcome", "reason", "page")
    search_help_text = "Part of who, from where, what, an order's id or what else it was done to, outcome or reason."

    @admin.display(description="at (UTC)")
    def time(self, act: Act) -> str:
        return moment(act.at)

    @admin.display(description="which")
    def which(self, act: Act) -> SafeString | str:
        """Show what it was done to, with a link if that has a page."""
        return format_html('<a href="{}">{}</a>', act.page, act.subject) if act.page else act.subject
