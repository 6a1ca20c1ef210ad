"""The errors of commands that need Postgres when it cannot be reached."""

import psycopg
from django.core.management import CommandError
from django.db import connection

PATIENCE_S = 2


def reach() -> None:
    """Connect once, without the pool, which would retry for seconds and then not report the reason.

    Raises CommandError.
    """
    try:
        psycopg.connect(**{**connection.get_connection_params(), "connect_timeout": PATIENCE_S}).close()
    except psycopg.OperationalError as reason:
        raise unreachable(reason) from None


def unreachable(reason: Exception) -> CommandError:
    """Return the error that says why Postgres cannot be reached, and what to start."""
    return CommandError(f"Postgres cannot be reached; is `manage.py up` running?\n{reason}", returncode=2)
