"""How the admin formats amounts, times, durations and links."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from engine.money import Token, shown
from engine.quotes import Pair
from routing.catalogue import UnknownPair, catalogue

NOTHING = "-"


def sold(units: Any, pair: str) -> str:
    """Format base units of the pair's first token as whole tokens."""
    return whole(units, pair, lambda known: known.token_in)


def bought(units: Any, pair: str) -> str:
    """Format base units of the pair's second token as whole tokens."""
    return whole(units, pair, lambda known: known.token_out)


def whole(units: Any, pair: str, side: Callable[[Pair], Token]) -> str:
    """Format base units as whole tokens, or as base units if the pair is no longer in the catalogue."""
    if units is None:
        return NOTHING
    try:
        token = side(catalogue().pair(pair))
    except UnknownPair:
        return f"{units} base units"
    return f"{shown(int(units), token)} {token.symbol}"


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
