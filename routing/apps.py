"""The Django app that keeps tokens, pairs and the sandbox ledger."""

from django.apps import AppConfig


class RoutingConfig(AppConfig):
    """The outside world: venues, quotes, the chain."""

    name = "routing"
    default_auto_field = "django.db.models.BigAutoField"
