"""The Django app that lets every process that runs Django send tasks to the workers."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Makes the Celery application the default one in every process."""

    name = "config"

    def ready(self) -> None:
        from config.celery import app

        app.set_default()
