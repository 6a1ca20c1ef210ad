"""Registration with Django."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """The order tables and their admin."""

    name = "orders"
    default_auto_field = "django.db.models.BigAutoField"
