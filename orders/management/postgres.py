"""What the commands that need Postgres say when it is away."""

import psycopg
from django.core.management import CommandError
from django.db import connection

PATIENCE_S = 2


def reach() -> None:
    """Connect once and directly: the pool would try for seconds and then not say why.

    Raises CommandError.
    """
    try:
        psycopg.connect(**{**connection.get_connection_params(), "connect_timeout": PATIENCE_S}).close()
    except psycopg.OperationalError as reason:
        raise unreachable(reason) from None


def unreachable(reason: Exception) -> CommandError:
    """Say that Postgres is away, why, and what to start."""
    return CommandError(f"Postgres cannot be reached; is `manage.py up` running?\n{reason}", returncode=2)
