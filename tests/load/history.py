"""A month of orders in Postgres, written by Postgres itself: what a store holds that has been in use for long."""

import sys
import time
from collections.abc import Iterator

import psycopg

SPACING_S = 2.6
"""Seconds between two orders: 1,000,000 of them reach back a month."""

ORDERS = """
INSERT INTO orders_order (id, type, pair, amount_in, slippage_bps, limit_price, fingerprint, created_at, updated_at,
                          status, seq, attempt, closed_at, venue, client_order_id, tx_hash, trigger)
SELECT (substr(at_ms, 1, 8) || '-' || substr(at_ms, 9, 4) || '-7' || substr(hash, 1, 3) || '-8' || substr(hash, 4, 3)
            || '-' || substr(hash, 7, 12))::uuid,
       type, pair, 1500000000, 50, CASE type WHEN 'limit' THEN 9000000000 END, repeat('0', 64), at, at + interval '4 s',
       status, 5, 1, CASE WHEN status <> 'confirmed' AND status <> 'pending' THEN at END,
       CASE i %% 3 WHEN 0 THEN 'RAYDIUM' ELSE 'METEORA' END,
       CASE i %% 10 WHEN 0 THEN 'bot-' || i END,
       CASE status WHEN 'confirmed' THEN '5' || md5(hash) || md5(hash || 'b') ELSE '' END,
       CASE type WHEN 'sniper' THEN '[{"kind": "launch"}]'::jsonb ELSE '[]'::jsonb END
FROM (
    SELECT i, at, md5(i::text) AS hash, lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') AS at_ms, type,
           (ARRAY['SOL-USDC', 'USDC-SOL', 'SOL-JUP', 'JUP-USDC', 'SOL-BONK', 'WIF-USDC'])[1 + roll %% 6] AS pair,
           CASE WHEN roll < 20 THEN 'failed' WHEN roll < 30 THEN 'cancelled' WHEN roll = 30 THEN 'expired'
                WHEN roll BETWEEN 70 AND 72 AND type = 'limit' AND i < 400000 THEN 'pending'
                ELSE 'confirmed' END AS status
    FROM (
        SELECT i, roll, now() - interval '20 min' - i * %(spacing)s * interval '1 s' AS at,
               CASE WHEN roll = 1 THEN 'sniper' WHEN roll < 80 THEN 'limit' ELSE 'market' END AS type
        FROM (SELECT i, (hashint8(i) & 1048575) %% 1000 AS roll FROM generate_series(1::bigint, %(orders)s) AS i) AS n
    ) AS typed
) AS shaped
ORDER BY i DESC
"""
"""Ids are version 7 UUIDs of the time of creation (RFC 9562, 5.7), as the engine's own."""

EVENTS = """
INSERT INTO orders_orderevent (order_id, seq, status, at, attempt, facts)
SELECT id, n, CASE n WHEN 5 THEN status ELSE (ARRAY['pending', 'routing', 'building', 'submitted'])[n] END,
       created_at + n * interval '600 ms', least(n - 1, 1),
       CASE WHEN n = 1 THEN jsonb_build_object('type', type, 'pair', pair, 'amountIn', '1.5', 'slippageBps', 50)
            WHEN n < 5 THEN jsonb_build_object('venue', venue)
            WHEN status = 'confirmed' THEN jsonb_build_object(
                'venue', venue, 'executedPrice', '154.33', 'amountOut', '231.5', 'slippageBps', '3', 'txHash', tx_hash)
            WHEN status = 'failed' THEN jsonb_build_object(
                'code', 'slippage_exceeded', 'message', 'the pool had moved', 'replayMayHelp', true)
            ELSE jsonb_build_object('reason', 'asked for by its owner') END
FROM orders_order, generate_series(1, 5) AS n
WHERE status <> 'pending' OR n = 1
ORDER BY id, n
"""

ATTEMPTS = """
INSERT INTO orders_attempt (order_id, number, state, venue, signature, raw, last_valid_height, expected_out,
                            minimum_out, fee_bps, seq, trail, created_at, sent_at, settled_at, amount_out)
SELECT id, 1, CASE WHEN status = 'confirmed' THEN 'landed' WHEN hashint8(amount_in::bigint + seq) %% 50 = 0 THEN
       'expired' ELSE 'rejected' END, venue,
       CASE tx_hash WHEN '' THEN '4' || md5(id::text) || md5(id::text || 'b') ELSE tx_hash END,
       '', 1, 232000000, 230000000, 20, 4, '[]', created_at, created_at, updated_at,
       CASE status WHEN 'confirmed' THEN 231500000 END
FROM orders_order WHERE status IN ('confirmed', 'failed')
ORDER BY id
"""

LETTERS = """
INSERT INTO orders_deadletter (order_id, code, reason, replay_may_help, history, verdict, created_at, replayed_at)
SELECT id, CASE seed %% 3 WHEN 0 THEN 'no_quote' ELSE 'slippage_exceeded' END, 'the pool had moved', seed %% 5 > 0,
       jsonb_build_array(
           jsonb_build_object('orderId', id, 'seq', 1, 'status', 'pending', 'at', '2026-01-01T12:00:00.000Z',
                              'attempt', 0),
           jsonb_build_object('orderId', id, 'seq', 2, 'status', 'failed', 'at', '2026-01-01T12:00:01.000Z',
                              'attempt', 1, 'code', 'slippage_exceeded', 'message', 'the pool had moved',
                              'replayMayHelp', true)),
       CASE WHEN seed %% 400 = 0 THEN 'landed' ELSE 'safe' END, created_at, CASE seed %% 7 WHEN 0 THEN created_at END
FROM (SELECT *, abs(hashtext(id::text)) AS seed FROM orders_order WHERE status = 'failed') AS failed
ORDER BY id
-- The engine finds failed orders without a letter and writes it, meanwhile.
ON CONFLICT DO NOTHING
"""

AUDIT = """
INSERT INTO orders_act (at, who, origin, what, subject, reason, outcome, page)
SELECT created_at, 'admin', '127.0.0.1', 'change dead letter', id::text, 'the cause is gone', 'Replayed.', ''
FROM orders_order WHERE status = 'failed' ORDER BY created_at
"""

TABLES = {
    "orders_order": ORDERS,
    "orders_orderevent": EVENTS,
    "orders_attempt": ATTEMPTS,
    "orders_deadletter": LETTERS,
    "orders_act": AUDIT,
}


def write(postgres: "psycopg.Connection[tuple[object, ...]]", orders: int) -> dict[str, int]:
    """Write so many orders and all that belongs to them, saying how it goes; return the rows of each table."""
    postgres.execute("SET synchronous_commit = off")
    # Without triggers: one of them locks each client order id until the end of its transaction.
    postgres.execute("SET session_replication_role = replica")
    return dict(filled(postgres, orders))


def filled(postgres: "psycopg.Connection[tuple[object, ...]]", orders: int) -> Iterator[tuple[str, int]]:
    """Fill one table after the other."""
    for table, statement in TABLES.items():
        begun = time.monotonic()
        rows = postgres.execute(statement.encode(), {"orders": orders, "spacing": SPACING_S}).rowcount
        # As autovacuum leaves a table that has grown for a month.
        postgres.execute(f"VACUUM ANALYZE {table}".encode())
        print(f"{table}: {rows:,} rows in {time.monotonic() - begun:.0f} s", file=sys.stderr)
        yield table, rows
