"""Bulk statements on Postgres: a batch is sent as one JSON document and unpacked by the server.

`INSERT … SELECT FROM json_to_recordset` costs this process a few microseconds per row; array parameters cost tens, and
the ORM's bulk calls hundreds.  The SQL is kept next to each caller.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
import psycopg
from django.db import connection
from psycopg.rows import RowFactory, class_row, tuple_row

from orders.telemetry import traces

R = TypeVar("R")

ENCODER = msgspec.json.Encoder()


def recordset(rows: Iterable[Any]) -> str:
    """Encode rows, dicts or structs, as the JSON document for `json_to_recordset`."""
    return ENCODER.encode(list(rows)).decode()


def fetch(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement with server-side parameter binding, and return its rows.

    Django's own cursors interpolate parameters into the statement's text, which for a batch is a megabyte to parse.
    """
    return run(sql, parameters, tuple_row)


def fetch_as(kind: type[R], sql: str, *parameters: Any) -> list[R]:
    """Run a statement, and return its rows as `kind`, whose fields are its columns by name."""
    return run(sql, parameters, class_row(kind))


def run(sql: str, parameters: Sequence[Any], row_factory: RowFactory[R]) -> list[R]:
    connection.ensure_connection()
    raw = connection.connection
    assert raw is not None
    with traces.statement(sql), connection.wrap_database_errors, psycopg.Cursor(raw, row_factory=row_factory) as cursor:
        cursor.execute(sql.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


def as_bytea(raw: bytes) -> str:
    """Format bytes as the text that Postgres casts from JSON to bytea."""
    return "\\x" + raw.hex()
