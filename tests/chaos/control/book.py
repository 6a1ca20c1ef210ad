"""Orders and their events in Postgres, saved as one saves them."""

import os
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import uuid4

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from tests.chaos.control.tables import TOKENS

Json = dict[str, Any]
FINAL = ("confirmed", "failed", "cancelled", "expired")


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
    """Save a new order, with its first event; return its id."""
    order_id, sold = str(uuid4()), asked["tokenIn"]
    sql(
        "INSERT INTO orders_order (id, type, pair, amount_in, slippage_bps, limit_price, time_in_force, expires_at,"
        " trigger, client_order_id, status, seq) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'pending', 0)",
        order_id,
        asked["type"],
        f"{sold}-{asked['tokenOut']}",
        round(float(asked["amount"]) * 10 ** TOKENS[sold][1]),
        asked["slippageBps"],
        asked.get("limitPrice"),
        asked.get("timeInForce", "gtc"),
        asked.get("expiresAt"),
        Jsonb(asked.get("trigger", [])),
        asked["clientOrderId"],
    )
    names = ("type", "limitPrice", "expiresAt")
    move(order_id, "pending", {"amountIn": asked["amount"], **{name: asked[name] for name in names if name in asked}})
    return order_id


def move(order_id: str, status: str, facts: Json) -> None:
    """Save an order's new status, and an event of it."""
    order = load(order_id)
    seq, at = order["seq"] + 1, datetime.now(UTC)
    sql(
        "UPDATE orders_order SET status = %s, seq = %s, result = %s, updated_at = %s WHERE id = %s",
        status, seq, Jsonb(facts), at, order_id,
    )  # fmt: skip
    sql(
        "INSERT INTO orders_orderevent (order_id, seq, status, at, attempt, facts) VALUES (%s, %s, %s, %s, %s, %s)",
        order_id, seq, status, at, order["attempt"], Jsonb(facts),
    )  # fmt: skip


def amend(order: Json, changes: Json) -> None:
    """Save new terms of an order, and an event of them."""
    columns = {"amount": "amount_in", "limitPrice": "limit_price", "expiresAt": "expires_at"}
    decimals = TOKENS[order["pair"].split("-")[0]][1]
    ((name, value),) = changes.items()
    held = round(float(value) * 10**decimals) if name == "amount" else value
    sql(f"UPDATE orders_order SET {columns[name]} = %s WHERE id = %s", held, order["id"])
    fact = {"amount": "amountIn"}.get(name, name)
    move(order["id"], "pending", {"amended": {fact: {"from": None, "to": value}}})


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
    sold = order["pair"].split("-")[0]
    return {
        "orderId": str(order["id"]),
        **{name: order[name] for name in ("status", "seq", "attempt", "result")},
        "updatedAt": moment(order["updated_at"]),
        "amount": str(order["amount_in"].scaleb(-TOKENS[sold][1])),
        "limitPrice": order["limit_price"] and str(order["limit_price"]),
        "maxPrice": None,
        "expiresAt": order["expires_at"] and moment(order["expires_at"]),
    }


def moment(at: datetime) -> str:
    """Write a moment as the engine does."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
