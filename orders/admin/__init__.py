"""The admin: what happened to which order, what failed for good, and which tokens and pairs are traded.

It may be looked at only, wherever the engine owns the truth; a dead letter is replayed through orders.deadletters.
"""

from django.contrib import admin

from orders.admin import attempts, catalogue, deadletters, orders, records

__all__ = ["attempts", "catalogue", "deadletters", "orders", "records"]

admin.site.site_header = admin.site.site_title = "Order execution engine"
admin.site.index_title = "Orders, what became of them, and what is traded"
