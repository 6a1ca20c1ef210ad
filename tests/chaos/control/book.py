"""Orders and their events in Postgres, saved as one saves them."""

import os
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from tests.chaos.control.tables import TOKENS

Json = dict[str, Any]
FINAL = ("confirmed", "failed", "cancelled", "expired")
UNFINISHED = ("pending", "triggered", "routing", "building", "submitted")


@cache
def pool() -> "ConnectionPool[Any]":
    """Return the process's connections."""
    options = {"row_factory": dict_row, "autocommit": True}
    return ConnectionPool(os.environ["DATABASE_URL"], kwargs=options, min_size=1, max_size=8, timeout=5, open=True)


def sql(statement: str, *values: Any) -> list[Json]:
    """Run a statement and return its rows."""
    with pool().connection() as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def load(order_id: str) -> Json:
    """Return an order's row; KeyError where there is none."""
    rows = sql("SELECT * FROM orders_order WHERE id = %s", order_id)
    if not rows:
        raise KeyError(order_id)
    return rows[0]


def named(client_order_id: str) -> Json | None:
    """Return the order of that name."""
    return next(iter(sql("SELECT * FROM orders_order WHERE client_order_id = %s", client_order_id)), None)


def create(asked: Json) -> str:
    """Save a new order with its first event; return its id."""
    order_id, sold, bought = str(uuid4()), asked["tokenIn"], asked["tokenOut"]
    values = (
        order_id,
        asked["type"],
        f"{sold}-{bought}",
        units(asked["amount"], sold),
        units(asked["amountOut"], bought) if "amountOut" in asked else None,
        asked["slippageBps"],
        asked.get("limitPrice"),
        asked.get("timeInForce", "gtc"),
        asked.get("expiresAt"),
        Jsonb(asked.get("trigger", [])),
        asked["clientOrderId"],
    )
    names = ("type", "amountOut", "limitPrice", "expiresAt")
    facts = {"amountIn": asked["amount"], **{name: asked[name] for name in names if name in asked}}
    with pool().connection() as connection, connection.transaction():
        connection.execute(INSERT, values)
        save(connection, connection.execute(LOCK, [order_id]).fetchone(), "pending", facts)
    return order_id


INSERT = """
INSERT INTO orders_order (id, type, pair, amount_in, amount_out, slippage_bps, limit_price, time_in_force, expires_at,
                          trigger, client_order_id, status, seq)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'pending', 0)
"""
LOCK = "SELECT * FROM orders_order WHERE id = %s FOR UPDATE"


def units(amount: str, token: str) -> int:
    """Return whole tokens in base units."""
    return int(Decimal(amount).scaleb(TOKENS[token][1]))


def save(connection: "Connection[Any]", order: Json, status: str, facts: Json) -> None:
    """Save an order's new status, and an event of it."""
    seq, at = order["seq"] + 1, datetime.now(UTC)
    connection.execute(
        "UPDATE orders_order SET status = %s, seq = %s, result = %s, updated_at = %s WHERE id = %s",
        [status, seq, Jsonb(facts), at, order["id"]],
    )
    connection.execute(
        "INSERT INTO orders_orderevent (order_id, seq, status, at, attempt, facts) VALUES (%s, %s, %s, %s, %s, %s)",
        [order["id"], seq, status, at, order["attempt"], Jsonb(facts)],
    )


def move(order_id: str, status: str, facts: Json, *, only_from: tuple[str, ...] = UNFINISHED) -> Json | None:
    """Move an order that still stands where it is believed to; return its row, or None when it does not."""
    with pool().connection() as connection, connection.transaction():
        order = connection.execute(LOCK, [order_id]).fetchone()
        if order is None or order["status"] not in only_from:
            return None
        save(connection, order, status, facts)
        return dict(order)


def amend(order_id: str, seq: int, changes: Json) -> bool:
    """Change an order that is pending and whose last event is `seq`; False when it has moved on."""
    columns = {"amount": "amount_in", "limitPrice": "limit_price", "expiresAt": "expires_at"}
    ((name, value),) = changes.items()
    with pool().connection() as connection, connection.transaction():
        order = connection.execute(LOCK, [order_id]).fetchone()
        if order is None or order["status"] != "pending" or order["seq"] != seq:
            return False
        held = units(value, order["pair"].split("-")[0]) if name == "amount" else value
        connection.execute(f"UPDATE orders_order SET {columns[name]} = %s WHERE id = %s", [held, order_id])
        fact = {"amount": "amountIn"}.get(name, name)
        save(connection, order, "pending", {"amended": {fact: {"from": None, "to": value}}})
        return True


def events(order_id: str, after: int = 0) -> list[Json]:
    """Return an order's events as they are sent."""
    rows = sql("SELECT * FROM orders_orderevent WHERE order_id = %s AND seq > %s ORDER BY id", order_id, after)
    return [wire(row) for row in rows]


def wire(row: Json) -> Json:
    """Write an event as it is sent."""
    common = {"orderId": str(row["order_id"]), "epoch": 0, "seq": row["seq"], "status": row["status"]}
    return {**common, "at": moment(row["at"]), "attempt": row["attempt"], **row["facts"]}


def shown(order: Json) -> Json:
    """Write an order as it is read."""
    sold, bought = (TOKENS[token][1] for token in order["pair"].split("-"))
    return {
        "orderId": str(order["id"]),
        **{name: order[name] for name in ("status", "seq", "attempt", "result")},
        "updatedAt": moment(order["updated_at"]),
        "amount": str(order["amount_in"].scaleb(-sold)),
        "amountOut": order["amount_out"] and str(order["amount_out"].scaleb(-bought)),
        "limitPrice": order["limit_price"] and str(order["limit_price"]),
        "maxPrice": None,
        "expiresAt": order["expires_at"] and moment(order["expires_at"]),
    }


def moment(at: datetime) -> str:
    """Write a moment as the engine does."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
