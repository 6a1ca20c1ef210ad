"""Bulk statements on Postgres: a batch is sent as one JSON document and unpacked by the server.

`INSERT … SELECT FROM json_to_recordset` costs this process a few microseconds per row; array parameters cost tens, and
the ORM's bulk calls hundreds.  The SQL is kept next to each caller.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from psycopg.rows import class_row

from orders.telemetry import traces
from routing import postgres

R = TypeVar("R")

ENCODER = msgspec.json.Encoder()


def recordset(rows: Iterable[Any]) -> str:
    """Encode rows, dicts or structs, as the JSON document for `json_to_recordset`."""
    return ENCODER.encode(list(rows)).decode()


def fetch(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement, and return its rows.

    Raises DatabaseError.
    """
    with traces.statement(sql):
        return postgres.fetch(sql, *parameters)


def fetch_new(statement: Callable[[str], str], on_conflict: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Insert rows of which hardly any is there already: see routing/postgres.py."""
    with traces.statement(statement("")):
        return postgres.fetch_new(statement, on_conflict, *parameters)


def fetch_as(kind: type[R], sql: str, *parameters: Any) -> list[R]:
    """Run a statement, and return its rows as `kind`, whose fields are its columns by name.

    Raises DatabaseError.
    """
    with traces.statement(sql):
        return postgres.fetch_with(class_row(kind), sql, parameters)


def as_bytea(raw: bytes) -> str:
    """Format bytes as the text that Postgres casts from JSON to bytea."""
    return "\\x" + raw.hex()
