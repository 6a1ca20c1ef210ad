"""The admin: dashboard, orders and their history, dead letters, catalogue, and operators' controls.

Everything that the engine owns is read-only here; dead letters are replayed by orders.flow.dead_letters.
"""

from django.contrib import admin

from orders.admin import (
    api_keys,
    archived,
    attempts,
    audit,
    catalogue,
    dashboard,
    deadletters,
    incidents,
    logins,
    orders,
    pauses,
    people,
    records,
    risk_limits,
    schedule,
    trading_limits,
    webhooks,
)

__all__ = [
    "api_keys",
    "archived",
    "attempts",
    "audit",
    "catalogue",
    "dashboard",
    "deadletters",
    "incidents",
    "logins",
    "orders",
    "pauses",
    "people",
    "records",
    "risk_limits",
    "schedule",
    "trading_limits",
    "webhooks",
]

admin.site.index_title = "Engine overview"
