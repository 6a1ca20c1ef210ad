"""How the processes are put together: settings, Celery, ASGI, urls, logging."""
