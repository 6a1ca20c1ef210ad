"""Events are stored once, as event rows; an attempt's row says what its own event needs, and its updates stay HOT.

The unique index of open and landed attempts, and that of rare states, go by `error_code`, which a sent or landed attempt
does not change.  The trigger keeps that true for every writer, the version before included.
"""

from django.db import migrations, models

TRIGGER = """
CREATE FUNCTION orders_void_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.error_code := NEW.state;
    RETURN NEW;
END $$;
CREATE TRIGGER orders_void_attempt BEFORE INSERT OR UPDATE ON orders_attempt FOR EACH ROW
    WHEN (NEW.error_code = '' AND NEW.state IN ('withdrawn', 'rejected', 'expired'))
    EXECUTE FUNCTION orders_void_attempt();
"""
NO_TRIGGER = "DROP TRIGGER orders_void_attempt ON orders_attempt; DROP FUNCTION orders_void_attempt();"
VOID = """
UPDATE orders_attempt SET error_code = state
WHERE error_code = '' AND state IN ('withdrawn', 'rejected', 'expired')
"""
ROOM = "ALTER TABLE orders_attempt SET (fillfactor = 60)"
NO_ROOM = "ALTER TABLE orders_attempt RESET (fillfactor)"
"""Room for the next version of a row on its own page."""
OLD_UNIQUE = "one_open_or_landed_attempt_per_order"
OLD_HOLDING = "state IN ('prepared', 'sent', 'landed')"
DROP = "DROP INDEX CONCURRENTLY IF EXISTS %s"


def create(name: str, columns: str, condition: str, unique: str = "") -> str:
    """Write the statement that builds an index while orders go on."""
    return f"CREATE {unique} INDEX CONCURRENTLY IF NOT EXISTS {name} ON orders_attempt ({columns}) WHERE {condition}"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('orders', '0010_one_signature_index'),
    ]

    operations = [
        migrations.AddField(
            model_name='attempt',
            name='epoch',
            field=models.IntegerField(db_default=0, help_text='Epoch of Redis in which that event was made.'),
        ),
        migrations.AddField(
            model_name='attempt',
            name='submitted_at',
            field=models.DateTimeField(help_text='The time that event states.', null=True),
        ),
        migrations.AlterField(
            model_name='attempt',
            name='trail',
            field=models.JSONField(db_default=[], help_text="The order's events before that one, by an earlier version."),
        ),
        migrations.AlterField(
            model_name='attempt',
            name='error_code',
            field=models.CharField(db_default='', help_text='Why it came to nothing; empty while it may still land, and once it has.', max_length=40),
        ),
        migrations.RunSQL(TRIGGER, NO_TRIGGER),
        migrations.RunSQL(ROOM, NO_ROOM),
        migrations.RunSQL(VOID, migrations.RunSQL.noop),
        # The new ones are made before the old ones go, and none keeps an order waiting.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    create("one_open_or_landed_attempt", "order_id", "error_code = ''", "UNIQUE"),
                    DROP % "one_open_or_landed_attempt",
                ),
                migrations.RunSQL(create("attempts_void", "id", "NOT error_code = ''"), DROP % "attempts_void"),
                migrations.RunSQL(DROP % OLD_UNIQUE, create(OLD_UNIQUE, "order_id", OLD_HOLDING, "UNIQUE")),
                migrations.RunSQL(
                    DROP % "attempts_open", create("attempts_open", "sent_at", "state IN ('prepared', 'sent')")
                ),
                migrations.RunSQL(
                    DROP % "attempts_expired", create("attempts_expired", "id", "state = 'expired'")
                ),
            ],
            state_operations=[
                migrations.RemoveConstraint(model_name='attempt', name=OLD_UNIQUE),
                migrations.RemoveIndex(model_name='attempt', name='attempts_open'),
                migrations.RemoveIndex(model_name='attempt', name='attempts_expired'),
                migrations.AddConstraint(
                    model_name='attempt',
                    constraint=models.UniqueConstraint(condition=models.Q(('error_code', '')), fields=('order',), name='one_open_or_landed_attempt'),
                ),
                migrations.AddIndex(
                    model_name='attempt',
                    index=models.Index(condition=models.Q(('error_code', ''), _negated=True), fields=['id'], name='attempts_void'),
                ),
            ],
        ),
    ]
