"""Configuration of the processes: settings, Celery, ASGI, URLs, logging."""
