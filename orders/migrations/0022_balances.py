"""Balances: what each account has of each token, which orders they count, and the function that moves them.

Balances are written with every group of orders, in place while their page has room.
"""

from django.db import migrations, models

BEGINS_WITH = """
CREATE FUNCTION orders_begins_with(what text, whole numeric, funded text) RETURNS numeric LANGUAGE sql STABLE AS $$
    -- Base units that an account begins with, given whole tokens and the tokens of which it has any.
    SELECT coalesce((SELECT round(whole * 10::numeric ^ k.decimals) FROM routing_token k
                     WHERE k.symbol = what AND what = ANY(string_to_array(funded, ','))), 0)
$$
"""
MOVE = """
CREATE FUNCTION orders_move_balance(whose int, what text, more numeric, held numeric, whole numeric, funded text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE begun numeric;
BEGIN
    -- Only what is newly reserved can be refused.  An end or a fill never is: a balance that is too low for it was wrong
    -- before, and the comparison with the ledger finds it.
    UPDATE orders_balance b
    SET total = CASE WHEN held > 0 THEN b.total + more ELSE greatest(b.total + more, b.reserved + held, 0) END,
        reserved = CASE WHEN held > 0 THEN b.reserved + held ELSE greatest(b.reserved + held, 0) END
    WHERE owner_id = whose AND token = what;
    IF NOT FOUND THEN
        begun := orders_begins_with(what, whole, funded);
        INSERT INTO orders_balance AS b (owner_id, token, opening, total, reserved)
        VALUES (whose, what, begun, greatest(begun + more, 0), greatest(held, 0))
        -- Another process has just made it.
        ON CONFLICT (owner_id, token) DO UPDATE
        SET total = greatest(b.total + more, 0), reserved = greatest(b.reserved + held, 0);
    END IF;
END $$
"""
ROOM = "ALTER TABLE orders_balance SET (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)"


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0021_trading_states'),
        ('routing', '0007_candles'),
    ]

    operations = [
        migrations.CreateModel(
            name='Balance',
            fields=[
                ('pk', models.CompositePrimaryKey('owner_id', 'token', blank=True, editable=False, primary_key=True, serialize=False)),
                ('owner_id', models.IntegerField()),
                ('token', models.CharField(db_collation='C', help_text='Its symbol; its mint while it has none.', max_length=44)),
                ('opening', models.DecimalField(decimal_places=0, help_text='What it began with, and what orders in the archive have changed.', max_digits=30)),
                ('total', models.DecimalField(decimal_places=0, max_digits=30)),
                ('reserved', models.DecimalField(db_default=0, decimal_places=0, help_text='For open orders.', max_digits=30)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('reserved__gte', 0), ('reserved__lte', models.F('total'))), name='balance_covers_orders')],
            },
        ),
        migrations.AddField(
            model_name='order',
            name='on_balance',
            field=models.BooleanField(db_default=False, help_text="Its account's balance counts it: what it sells is reserved while it is open."),
        ),
        migrations.RunSQL(ROOM, migrations.RunSQL.noop),
        migrations.RunSQL(BEGINS_WITH, "DROP FUNCTION orders_begins_with"),
        migrations.RunSQL(MOVE, "DROP FUNCTION orders_move_balance"),
    ]
