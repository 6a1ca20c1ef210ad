"""What Postgres holds: orders, their events and attempts, and the sandbox chain's ledger."""

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

from tests.chaos.checker.world import Attempt, Execution, Row, World, moment

ORDERS = """
SELECT id::text, type, pair, amount_in, status, seq, limit_price, max_price, time_in_force, expires_at, trigger,
       client_order_id, result, amount_out
FROM orders_order
"""
EVENTS = """
SELECT order_id::text AS "orderId", epoch, seq, status, at, attempt, facts FROM orders_orderevent ORDER BY order_id, seq
"""
ATTEMPTS = "SELECT order_id::text, number, state, signature FROM orders_attempt ORDER BY order_id, number"
LEDGER = """
SELECT signature, slot, landing, amount_out, fee_lamports, memo, venue, coalesce(amount_in, 0) AS amount_in,
       coalesce(minimum_out, 0) AS minimum_out, maximum_in
FROM routing_ledgerentry ORDER BY slot
"""
TOKENS = "SELECT symbol, mint, decimals FROM routing_token"


def read(url: str, world: World) -> None:
    """Put all that Postgres holds into a world."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        read_from(connection, world)


def read_from(connection: "psycopg.Connection[DictRow]", world: World) -> None:
    """Put all that a database holds into a world, as of one moment."""
    connection.autocommit = False
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        for token in rows(connection, TOKENS):
            world.decimals |= {token["symbol"]: token["decimals"], token["mint"]: token["decimals"]}
        for row in rows(connection, ORDERS):
            world.rows[row["id"]] = Row(**whole(row, "amount_in", "amount_out"))
        for event in rows(connection, EVENTS):
            facts = event.pop("facts")
            world.events.setdefault(event["orderId"], []).append({**event, "at": moment(event["at"]), **facts})
        for attempt in rows(connection, ATTEMPTS):
            world.attempts.setdefault(attempt["order_id"], []).append(Attempt(**attempt))
        for entry in rows(connection, LEDGER):
            world.executions.append(Execution(**whole(entry, "amount_in", "amount_out", "minimum_out", "maximum_in")))


def rows(connection: "psycopg.Connection[DictRow]", query: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query, a part at a time."""
    with connection.cursor(name="checker") as cursor:
        cursor.itersize = 5_000
        yield from cursor.execute(query)


def whole(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """Read amounts, which are numeric in Postgres because an u64 fits no bigint, as whole numbers."""
    return {**row, **{name: None if row[name] is None else int(row[name]) for name in names}}
