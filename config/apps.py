"""Registration with Django: whatever runs Django can wake workers."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Makes the Celery application the default one in every process."""

    name = "config"

    def ready(self) -> None:
        """Build the application."""
        from config.celery import app

        app.set_default()
