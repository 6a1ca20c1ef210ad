"""The base of commands that ask the stores themselves, and what they say where one does not answer as it should."""

from typing import Any

import psycopg
from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from psycopg import errors

from routing.store import StoreError

PATIENCE_S = 2
NOT_MIGRATED = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction)


class StoresCommand(BaseCommand):
    """A command that asks the stores itself: what keeps one from answering is a sentence, with exit code 2."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command.

        Raises CommandError; a DatabaseError only if it is a defect.
        """
        reach()
        try:
            return super().execute(*args, **options)
        except (DatabaseError, InterfaceError, StoreError) as reason:
            if (said := explained(reason)) is None:
                raise
            raise said from None


def reach() -> None:
    """Connect once, without the pool, which would retry for seconds and then not report the reason.

    Raises CommandError.
    """
    try:
        psycopg.connect(**{**connection.get_connection_params(), "connect_timeout": PATIENCE_S}).close()
    except psycopg.OperationalError as reason:
        raise unreachable(reason) from None


def explained(reason: Exception) -> CommandError | None:
    """Return the error that says what to do about a store's; None for a defect."""
    if isinstance(reason, StoreError):
        return away("Redis", reason)
    cause = reason.__cause__
    if isinstance(cause, NOT_MIGRATED):
        said = "The database is not that of this version; run `manage.py migrate` first (`manage.py up` does it)."
        return CommandError(f"{said}\n{reason}", returncode=2)
    if isinstance(cause, errors.InsufficientPrivilege):
        said = "The database user of this role may not do that: run it in the API's container."
        return CommandError(f"{said}\n{reason}", returncode=2)
    return unreachable(reason) if isinstance(reason, OperationalError | InterfaceError) else None


def unreachable(reason: Exception) -> CommandError:
    """Return the error that says why Postgres cannot be reached, and what to start."""
    return away("Postgres", reason)


def away(store: str, reason: Exception) -> CommandError:
    return CommandError(f"{store} cannot be reached; is `manage.py up` running?\n{reason}", returncode=2)
