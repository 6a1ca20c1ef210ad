"""How the admin formats times, durations and links."""

from datetime import datetime

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orders.operations.words import NOTHING


def moment(at: datetime | None) -> str:
    """Format a time in UTC to the millisecond: stages are milliseconds apart."""
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03}" if at else NOTHING


def seconds(ms: int) -> str:
    """Format milliseconds as seconds."""
    return f"{ms / 1000:.3f} s"


def link(row: Model | None, text: str = "") -> SafeString | str:
    """Link to a row's page in the admin."""
    if row is None:
        return NOTHING
    address = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', address, text or str(row))


def badge(status: str) -> SafeString:
    """Format a status in its colour."""
    return format_html('<span class="badge {}">{}</span>', status, status)
