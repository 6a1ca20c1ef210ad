"""Orders that are open at the upgrade get their reservation, a thousand at a time, each with its balance in one statement.

A balance that would not cover them begins with as much as they need.  What the version before ends or fills after this
moves no balance: `manage.py balances --repair REASON` puts that right once its workers are replaced.
"""

from django.conf import settings
from django.db import migrations

from routing import wiring

BATCH = 1_000
RESERVE = """
    WITH taken AS MATERIALIZED (
        SELECT id FROM orders_order o
        WHERE status NOT IN ('cancelled', 'confirmed', 'expired', 'failed') AND owner_id IS NOT NULL AND NOT on_balance
          AND id > %s AND NOT EXISTS (
            SELECT FROM orders_attempt t WHERE t.order_id = o.id AND t.state = 'landed' AND t.error_code = '')
        ORDER BY id LIMIT %s FOR UPDATE
    ), marked AS (
        UPDATE orders_order o SET on_balance = true FROM taken WHERE o.id = taken.id
        RETURNING o.id, o.owner_id, split_part(o.pair, '-', 1) AS token, o.amount_in
    ), opened AS (
        INSERT INTO orders_balance AS b (owner_id, token, opening, total, reserved)
        SELECT m.owner_id, m.token, greatest(funds, needs), greatest(funds, needs), needs
        FROM (SELECT owner_id, token, sum(amount_in) AS needs FROM marked GROUP BY 1, 2) m,
             LATERAL (SELECT orders_begins_with(m.token, %s, %s) AS funds) f
        ORDER BY 1, 2
        ON CONFLICT (owner_id, token) DO UPDATE SET
            opening = b.opening + greatest(0, b.reserved + excluded.reserved - b.total),
            total = greatest(b.total, b.reserved + excluded.reserved),
            reserved = b.reserved + excluded.reserved
    )
    SELECT id FROM marked ORDER BY id DESC LIMIT 1
"""


def reserve(apps, schema_editor):
    if not settings.ENGINE_BALANCES:
        return
    after = "00000000-0000-0000-0000-000000000000"
    with schema_editor.connection.cursor() as cursor:
        while True:
            cursor.execute(RESERVE, [after, BATCH, *wiring.funds()])
            found = cursor.fetchone()
            if found is None:
                return
            after = found[0]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("orders", "0022_balances")]
    operations = [migrations.RunPython(reserve, migrations.RunPython.noop)]
