"""What an earlier version left in the stores, and how it is put back.

`2517a26.json` holds the rows and keys that commit 2517a26 wrote, when all its processes but the stores were frozen:
finished orders of every kind, resting ones (one amended), two with a transaction that lands ten minutes later, two
whose transaction the chain lost, and one accepted but not yet routed.
"""

import json
from pathlib import Path
from typing import Any

from psycopg import Connection, sql
from psycopg.types.json import Jsonb
from redis import Redis

LEFT = Path(__file__).parent / "2517a26.json"
FILL = "INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s)"
COUNT_ON = "SELECT setval(pg_get_serial_sequence(%s, 'id'), max(id)) FROM {table}"


def left() -> dict[str, Any]:
    """Return what it left: `orders` by what they show, `migrations`, `postgres` and `redis`."""
    found: dict[str, Any] = json.loads(LEFT.read_text())
    return found


def fill_postgres(db: "Connection[Any]", tables: dict[str, list[Any]]) -> None:
    """Insert the rows; orders first, because others refer to them."""
    for name in sorted(tables, key=lambda name: name != "orders_order"):
        table = sql.Identifier(name)
        db.execute(sql.SQL(FILL).format(table=table), [Jsonb(tables[name])])
        if "id" in tables[name][0] and isinstance(tables[name][0]["id"], int):
            db.execute(sql.SQL(COUNT_ON).format(table=table), [name])


def fill_redis(client: Redis, keys: dict[str, tuple[str, Any]]) -> None:
    """Write the keys."""
    for key, (kind, value) in keys.items():
        if kind == "string":
            client.set(key, value)
        elif kind == "hash":
            client.hset(key, mapping=value)
        elif kind == "zset":
            client.zadd(key, dict(value))
        elif kind == "set":
            client.sadd(key, *value)
        elif kind == "stream":
            for entry_id, fields in value:
                client.xadd(key, fields, id=entry_id)
        else:
            raise ValueError(f"{key} is a {kind}, which no version has written")
