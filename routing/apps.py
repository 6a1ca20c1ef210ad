"""The Django app with the tables of tokens, pairs, market data, epochs and the sandbox ledger."""

from django.apps import AppConfig


class RoutingConfig(AppConfig):
    """Market access: venues, quotes and the chain."""

    name = "routing"
    default_auto_field = "django.db.models.BigAutoField"
