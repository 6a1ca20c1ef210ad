"""Change history as nobody may: as a superuser who switches the triggers off, or to stage what an outage left."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def forged() -> Iterator[None]:
    """Let this thread's connection change what the database keeps."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        try:
            yield
        finally:
            cursor.execute("RESET session_replication_role")
