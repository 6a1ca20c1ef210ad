"""The archive of finished orders, and what keeps an archived order from being placed again.

A unique index holds for its own table.  An order and its repeat can be in two: the order is moved to the archive while
its repeat is being inserted, so neither statement alone sees both.  The trigger looks when the row is in, past the wait
for whoever was just deleting its namesake, and with a snapshot of its own; rows without a name never call it.
"""

import django.db.models.functions.datetime
from django.db import migrations, models

ONCE = """
CREATE FUNCTION orders_refuse_archived() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM orders_archivedorder WHERE client_order_id = NEW.client_order_id) THEN
        RAISE unique_violation USING MESSAGE = format('client order id %s names an archived order', NEW.client_order_id);
    ELSIF EXISTS (SELECT 1 FROM orders_archivedorder WHERE replay_of = NEW.replay_of_id) THEN
        RAISE unique_violation USING MESSAGE = format('the replay of %s is archived', NEW.replay_of_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER orders_once_for_good AFTER INSERT ON orders_order FOR EACH ROW
    WHEN (NEW.client_order_id IS NOT NULL OR NEW.replay_of_id IS NOT NULL) EXECUTE FUNCTION orders_refuse_archived();
"""
NOT_ONCE = "DROP TRIGGER orders_once_for_good ON orders_order; DROP FUNCTION orders_refuse_archived();"


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0006_types'),
    ]

    operations = [
        migrations.CreateModel(
            name='ArchivedOrder',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('client_order_id', models.CharField(max_length=64, null=True)),
                ('replay_of', models.UUIDField(help_text='The order it replayed.', null=True)),
                ('tx_hash', models.CharField(help_text='Its last transaction; empty for none.', max_length=88)),
                ('archived_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('columns', models.JSONField(help_text='Its row.')),
                ('events', models.JSONField(help_text='Rows of its events.')),
                ('attempts', models.JSONField(help_text='Rows of its attempts.')),
                ('letter', models.JSONField(help_text='The row of its dead letter.', null=True)),
            ],
            options={
                'indexes': [models.Index(fields=['archived_at'], name='archived_orders_at'), models.Index(condition=models.Q(('tx_hash', ''), _negated=True), fields=['tx_hash'], name='archived_orders_hash', opclasses=['varchar_pattern_ops'])],
                'constraints': [models.UniqueConstraint(condition=models.Q(('client_order_id__isnull', False)), fields=('client_order_id',), name='archived_client_order_id_once', opclasses=['varchar_pattern_ops']), models.UniqueConstraint(condition=models.Q(('replay_of__isnull', False)), fields=('replay_of',), name='archived_replayed_once')],
            },
        ),
        migrations.RunSQL(ONCE, NOT_ONCE),
    ]
