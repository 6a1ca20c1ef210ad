"""Rows of new orders: committed together with what they reserve of their accounts' balances."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings

from orders.stores import balances
from orders.stores.rows import fetch, recordset
from routing import epochs
from routing.crashpoints import Store, step


class Committed(NamedTuple):
    """What a committed row says: when it was created, and its epoch, which is also that of the order's first event."""

    created_at: datetime
    epoch: int


UNCLAIMED = """
    WHERE NOT EXISTS (SELECT FROM orders_order x WHERE x.client_order_id = o.client_order_id AND x.owner_id IS NULL)
"""
"""SQL: the name is not that of an order older than accounts, whose client may send it again with the key it now has."""


@cache
def statement(*, may_repeat: bool, reserve: bool) -> str:
    """Return the SQL that commits rows.

    Without a name there is nothing to repeat, and Postgres logs less for an insert that cannot meet a row.
    """
    insert = f"""
        INSERT INTO orders_order (id, owner_id, api_key, type, pair, amount_in, amount_out, slippage_bps,
                                  client_order_id, fingerprint, replay_of_id, limit_price, max_price, time_in_force,
                                  expires_at, trigger, allow_unknown, epoch, accepted_epoch, deadline_at, on_balance)
        SELECT id, owner, api_key, type, pair, amount_in, amount_out, slippage_bps, client_order_id, fingerprint,
               replay_of, limit_price, max_price, coalesce(time_in_force, 'gtc'), expires_at, coalesce(trigger, '[]'),
               coalesce(allow_unknown, false), epoch, epoch,
               CASE WHEN type = 'market' THEN statement_timestamp() + %s * interval '1 second' END,
               {"owner IS NOT NULL" if reserve else "false"}
        FROM (SELECT %s::int AS epoch) AS now,
             json_to_recordset(%s) AS o(id uuid, owner int, api_key bigint, type text, pair text, amount_in numeric,
                                        amount_out numeric, slippage_bps int, client_order_id text, fingerprint text,
                                        replay_of uuid, limit_price numeric, max_price numeric, time_in_force text,
                                        expires_at timestamptz, trigger jsonb, allow_unknown bool)
        {UNCLAIMED if may_repeat else ""}
        -- In one order everywhere: two groups with the same client ids would otherwise wait for each other.
        -- Within a group, the order that was decoded first takes an id.
        ORDER BY client_order_id, owner, replay_of, id
        {"ON CONFLICT DO NOTHING" if may_repeat else ""}
    """  # noqa: S608 - constants
    if not reserve:
        return f"{insert} RETURNING id::text, created_at, epoch"
    return f"""
        WITH made AS ({insert} RETURNING id, owner_id, pair, amount_in, created_at, epoch),
        changes AS MATERIALIZED (
            SELECT owner_id, {balances.SOLD} AS token, 0::numeric AS total, sum(amount_in) AS reserved FROM (
                SELECT owner_id, pair, sum(amount_in) AS amount_in FROM made WHERE owner_id IS NOT NULL GROUP BY 1, 2
            ) AS by_pair GROUP BY 1, 2
        ), {balances.MOVED}
        SELECT id::text, created_at, epoch FROM made, {balances.ALL_MOVED}
    """  # noqa: S608 - constants


@step("accept", Store.POSTGRES, "the order's row is committed")
def insert(rows: Sequence[Mapping[str, Any]], *, may_repeat: bool) -> dict[str, Committed]:
    """Commit rows, all or none, and reserve what they sell.

    Raises IntegrityError if one of them repeats a retired order, Short if a balance does not cover them.
    """
    reserve = settings.ENGINE_BALANCES
    with balances.covering():
        made = fetch(
            statement(may_repeat=may_repeat, reserve=reserve),
            settings.ORDER_DEADLINE_S,
            epochs.recent(),
            recordset(rows),
            *(balances.funding() if reserve else ()),
        )
    return {order_id: Committed(created_at, epoch) for order_id, created_at, epoch in made}
