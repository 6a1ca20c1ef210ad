"""Bulk statements on Postgres: a batch travels as one JSON document and is unpacked there.

`INSERT … SELECT FROM json_to_recordset` costs this process a few microseconds a row, where array parameters cost tens
and the ORM's bulk calls hundreds; the SQL stands beside each caller.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import psycopg
from django.db import connection

from orders.telemetry import traces

ENCODER = msgspec.json.Encoder()


def recordset(rows: Iterable[Any]) -> str:
    """Write rows, dicts or structs, as the document `json_to_recordset` reads."""
    return ENCODER.encode(list(rows)).decode()


def fetch(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement with its parameters bound by the server, and return its rows.

    Django's own cursors write parameters into the statement's text, which for a batch is a megabyte to parse.
    """
    connection.ensure_connection()
    raw = connection.connection
    assert raw is not None
    with traces.statement(sql), connection.wrap_database_errors, psycopg.Cursor(raw) as cursor:
        cursor.execute(sql.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


def as_bytea(raw: bytes) -> str:
    """Spell bytes as Postgres reads them out of JSON."""
    return "\\x" + raw.hex()
