"""Statements on Postgres whose parameters the server binds, and whose plans it keeps.

Django's own cursors write the parameters into the statement's text: for a batch that is a megabyte to parse, and every
execution is planned anew.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import psycopg
from django.db import connection
from psycopg.rows import RowFactory, tuple_row

R = TypeVar("R")


def fetch(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement on this thread's connection, and return its rows.

    Raises DatabaseError.
    """
    return fetch_with(tuple_row, sql, parameters)


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
