"""The admin: how the engine does, what happened to which order, what failed for good, and what is traded.

It may be looked at only, wherever the engine owns the truth; orders.flow.dead_letters replays a dead letter.
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
