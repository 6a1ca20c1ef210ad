"""The audit log of the admin: Django's own log, read-only."""

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orders.admin.readonly import ReadOnly
from orders.admin.wording import moment


@admin.register(LogEntry)
class AuditAdmin(ReadOnly):
    """Everything an operator changed, replayed, cancelled, paused or resumed, newest first."""

    list_display = ("at", "user", "kind", "object_link", "said")
    list_display_links = None
    list_select_related = ("user", "content_type")
    fields = ("at", "user", "kind", "object_link", "said")
    readonly_fields = fields

    @admin.display(description="at (UTC)")
    def at(self, entry: LogEntry) -> str:
        return moment(entry.action_time)

    @admin.display(description="what")
    def kind(self, entry: LogEntry) -> str:
        """Show the kind of object it was done to."""
        return str(entry.content_type.name) if entry.content_type else ""

    @admin.display(description="which")
    def object_link(self, entry: LogEntry) -> SafeString | str:
        """Show the object, with a link if it still has a page."""
        address = None if entry.is_deletion() else entry.get_admin_url()
        if not address or not entry.content_type or entry.content_type.model == "pause":
            return entry.object_repr
        return format_html('<a href="{}">{}</a>', address, entry.object_repr)

    @admin.display(description="done")
    def said(self, entry: LogEntry) -> str:
        """Show what was done."""
        return entry.get_change_message()
