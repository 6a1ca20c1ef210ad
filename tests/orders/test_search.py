"""Searching among many orders: found by any of their names, through an index each time."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orders.admin import search
from orders.models import Order
from routing.catalogue import catalogue
from tests.orders.bench import seed_catalogue

ORDERS = 200_000


@pytest.fixture
def crowd(db):
    """200,000 orders of two pairs, a third with a client's name, half with an attempt; Postgres knows how many."""
    catalogue.forget()
    seed_catalogue()
    catalogue()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        # Without triggers: one of them locks each name until the end of the transaction.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            """
            INSERT INTO orders_order (id, type, pair, amount_in, slippage_bps, fingerprint, client_order_id, status)
            SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid, 'market',
                   CASE WHEN n %% 2 = 0 THEN 'SOL-USDC' ELSE 'JUP-USDC' END, 1500000000, 50, md5(n::text),
                   CASE WHEN n %% 3 = 0 THEN 'desk-' || lpad(n::text, 7, '0') END, 'confirmed'
            FROM generate_series(1, %s) AS n
            """,
            [ORDERS],
        )
        cursor.execute(
            """
            INSERT INTO orders_attempt (order_id, number, state, venue, signature, raw, last_valid_height, expected_out,
                                        minimum_out, fee_bps, seq, trail)
            SELECT id, 1, 'landed', 'METEORA', md5(id::text) || md5(fingerprint), '', 1, 1, 1, 1, 4, '[]'
            FROM orders_order WHERE pair = 'SOL-USDC'
            """
        )
        cursor.execute("ANALYZE orders_order")
        cursor.execute("ANALYZE orders_attempt")
    yield
    catalogue.forget()


def plans_of(text):
    """Search, and return what was found with Postgres' plan of each statement."""
    with CaptureQueriesContext(connection) as asked:
        found = search.orders(text)
        shown = list(Order.objects.filter(pk__in=found).order_by("-pk")[:51])
    with connection.cursor() as cursor:
        plans = []
        for query in asked.captured_queries:
            cursor.execute(f"EXPLAIN {query['sql']}")
            plans.append("\n".join(line for (line,) in cursor.fetchall()))
    return shown, plans


FOUND_BY = (
    lambda order: str(order.pk),
    lambda order: str(order.pk)[:20],
    lambda order: order.pk.hex.upper(),
    lambda order: order.client_order_id,
    lambda order: order.client_order_id[:-1],
    lambda order: order.attempts.get().signature,
    lambda order: order.attempts.get().signature[:12],
)
MANY_OR_NONE = ("SOL", "usdc", "SOL-USDC", "d", "0", "desk", "ff", "%", "nothing like it")


def test_a_search_among_many_orders_finds_its_order_and_reads_no_whole_table(crowd):
    wanted = Order.objects.get(client_order_id="desk-0150000")
    for typed in [by(wanted) for by in FOUND_BY]:
        shown, plans = plans_of(typed)
        assert wanted in shown and len(shown) <= 10, typed
        assert not [plan for plan in plans if "Seq Scan on orders_" in plan], typed
    for typed in MANY_OR_NONE:
        shown, plans = plans_of(typed)
        assert not [plan for plan in plans if "Seq Scan on orders_" in plan], typed
    assert plans_of("nothing like it")[0] == plans_of("%")[0] == []
    assert {order.pair for order in plans_of("SOL-USDC")[0]} == {"SOL-USDC"}


def test_the_beginning_of_a_clients_name_is_indexed_whatever_the_databases_collation(db):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT opcname FROM pg_index JOIN pg_opclass c ON c.oid = ANY(indclass::oid[]) "
            "WHERE indexrelid = 'client_order_id_once'::regclass ORDER BY 1"
        )
        assert cursor.fetchall() == [("int4_ops",), ("varchar_pattern_ops",)]
