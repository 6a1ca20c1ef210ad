"""Bulk statements on Postgres: one array parameter per column, one statement per batch.

`UPDATE … FROM unnest` and `INSERT … SELECT FROM unnest` cost 16 to 40 µs a row where the ORM's bulk calls cost
hundreds; the SQL stands beside each caller.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Turn rows into one list per column, also when there are none."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def run(sql: str, rows: Iterable[Sequence[Any]], width: int, *more: Any) -> list[tuple[Any, ...]]:
    """Run a statement over columns made of `rows`, then `more` parameters; return what it returns."""
    with connection.cursor() as cursor:
        cursor.execute(sql, [*columns(rows, width), *more])
        return cursor.fetchall() if cursor.description else []


def fetch(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a query and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []
