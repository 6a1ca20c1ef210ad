"""Positions: what accounts hold by their fills and what it cost, and the functions that move them.

Fills from before have no step: `manage.py balances --repair REASON` counts them.
"""

from django.db import migrations, models

STEP = """
CREATE FUNCTION orders_position_step(
    state numeric[], bought numeric, spent numeric, sold numeric, received numeric
) RETURNS numeric[] LANGUAGE plpgsql IMMUTABLE AS $$
-- A position (held, cost, realised, uncosted) after purchases and then sales.  A sale takes its share of the cost, rounded
-- down, so cost and realised result never lose a unit: what is left keeps the rest, and the last unit takes all.
DECLARE held numeric := state[1] + bought;
        cost numeric := state[2] + spent;
        costed numeric := least(sold, held);
        released numeric := CASE WHEN held > 0 THEN div(cost * costed, held) ELSE 0 END;
        proceeds numeric := CASE WHEN sold > 0 THEN div(received * costed, sold) ELSE 0 END;
BEGIN
    RETURN ARRAY[held - costed, cost - released, state[3] + proceeds - released, state[4] + sold - costed];
END $$
"""
AFTER = """
CREATE AGGREGATE orders_position_after(numeric, numeric, numeric, numeric) (
    sfunc = orders_position_step, stype = numeric[], initcond = '{0,0,0,0}'
)
"""
MOVE = """
CREATE FUNCTION orders_move_position(
    whose int, base_token text, quote_token text, bought_ numeric, spent_ numeric, sold_ numeric, received_ numeric,
    fees_ numeric, shortfall_ numeric, quoted_ numeric
) RETURNS int LANGUAGE plpgsql AS $$
DECLARE counted int;
BEGIN
    LOOP
        UPDATE orders_position p
        SET (held, cost, realised, uncosted) = (SELECT s.s[1], s.s[2], s.s[3], s.s[4] FROM (SELECT orders_position_step(
                ARRAY[p.held, p.cost, p.realised, p.uncosted], bought_, spent_, sold_, received_) AS s OFFSET 0) AS s),
            step = p.step + 1, bought = p.bought + bought_, spent = p.spent + spent_, sold = p.sold + sold_,
            received = p.received + received_, fees = p.fees + fees_, shortfall = p.shortfall + shortfall_,
            quoted = p.quoted + quoted_
        WHERE owner_id = whose AND base = base_token AND quote = quote_token
        RETURNING p.step INTO counted;
        IF FOUND THEN
            RETURN counted;
        END IF;
        INSERT INTO orders_position VALUES (whose, base_token, quote_token, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        ON CONFLICT DO NOTHING;
    END LOOP;
END $$
"""
ROOM = "ALTER TABLE orders_position SET (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)"


class Migration(migrations.Migration):

    dependencies = [("orders", "0025_stopped_webhooks")]

    operations = [
        migrations.CreateModel(
            name="Position",
            fields=[
                ("pk", models.CompositePrimaryKey("owner_id", "base", "quote", blank=True, editable=False, primary_key=True, serialize=False)),
                ("owner_id", models.IntegerField()),
                ("base", models.CharField(db_collation="C", help_text="The token that is held.", max_length=44)),
                ("quote", models.CharField(db_collation="C", help_text="The token that it is priced in.", max_length=44)),
                ("step", models.IntegerField(db_default=0, help_text="How many times fills were counted; see Attempt.position_step.")),
                ("held", models.DecimalField(decimal_places=0, help_text="Bought and not sold yet.", max_digits=30)),
                ("cost", models.DecimalField(decimal_places=0, help_text="What was paid for it.", max_digits=30)),
                ("realised", models.DecimalField(decimal_places=0, help_text="Proceeds of sales less their cost.", max_digits=30)),
                ("uncosted", models.DecimalField(decimal_places=0, help_text="Sold beyond what was bought.", max_digits=30)),
                ("bought", models.DecimalField(decimal_places=0, help_text="In all.", max_digits=30)),
                ("spent", models.DecimalField(decimal_places=0, help_text="On that.", max_digits=30)),
                ("sold", models.DecimalField(decimal_places=0, help_text="In all.", max_digits=30)),
                ("received", models.DecimalField(decimal_places=0, help_text="For that.", max_digits=30)),
                ("fees", models.DecimalField(decimal_places=0, help_text="Of the venues, in the quote token.", max_digits=30)),
                ("shortfall", models.DecimalField(decimal_places=0, help_text="Against what was quoted; a cost.", max_digits=30)),
                ("quoted", models.DecimalField(decimal_places=0, help_text="The value of all fills as quoted.", max_digits=30)),
            ],
        ),
        migrations.AddField(
            model_name="attempt",
            name="position_step",
            field=models.IntegerField(help_text="Which step of its account's position counted it; what a step bought came before its sales.", null=True),
        ),
        migrations.RunSQL(ROOM, migrations.RunSQL.noop),
        migrations.RunSQL(STEP, "DROP FUNCTION orders_position_step"),
        migrations.RunSQL(AFTER, "DROP AGGREGATE orders_position_after (numeric, numeric, numeric, numeric)"),
        migrations.RunSQL(MOVE, "DROP FUNCTION orders_move_position"),
    ]
