"""The admin: how the engine does, what happened to which order, what failed for good, and what is traded.

It may be looked at only, wherever the engine owns the truth; a dead letter is replayed through orders.deadletters.
"""

from django.contrib import admin

from orders.admin import (
    archived,
    attempts,
    audit,
    catalogue,
    dashboard,
    deadletters,
    guards,
    orders,
    pauses,
    people,
    records,
    schedule,
)

__all__ = [
    "archived",
    "attempts",
    "audit",
    "catalogue",
    "dashboard",
    "deadletters",
    "guards",
    "orders",
    "pauses",
    "people",
    "records",
    "schedule",
]

admin.site.index_title = "How the engine does"
