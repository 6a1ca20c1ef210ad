"""Statements on Postgres whose parameters the server binds, and whose plans it keeps.

Django's own cursors write the parameters into the statement's text: for a batch that is a megabyte to parse, and every
execution is planned anew.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
from django.db import IntegrityError, connection
from psycopg.errors import UniqueViolation
from psycopg.rows import RowFactory, tuple_row

R = TypeVar("R")


def fetch(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement on this thread's connection, and return its rows.

    Raises DatabaseError.
    """
    return fetch_with(tuple_row, sql, parameters)


def fetch_new(statement: Callable[[str], str], on_conflict: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Insert rows of which hardly any is there already; `statement` makes the SQL with a clause for those that are.

    With the clause Postgres logs one record more for each row, so the insert is tried without it first.  Inside a
    transaction, which that could abort, it is not.  Raises DatabaseError.
    """
    if not connection.in_atomic_block:
        try:
            return fetch(statement(""), *parameters)
        except IntegrityError as reason:
            if not is_repeat(reason):
                raise
    return fetch(statement(on_conflict), *parameters)


def is_repeat(reason: Exception) -> bool:
    """Tell whether an insert failed because a row is there already."""
    return isinstance(reason.__cause__, UniqueViolation)


def fetch_with(row_factory: RowFactory[R], sql: str, parameters: Sequence[Any]) -> list[R]:
    """Run a statement, and return its rows as `row_factory` makes them.

    Raises DatabaseError.
    """
    connection.ensure_connection()
    raw = connection.connection
    assert raw is not None
    with connection.wrap_database_errors, psycopg.Cursor(raw, row_factory=row_factory) as cursor:
        cursor.execute(sql.encode(), parameters)
        return cursor.fetchall() if cursor.description else []
