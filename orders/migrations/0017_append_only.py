"""History is only added to: the database refuses to change or delete it, whoever asks, but for what is named here.

Each rule judges what a statement or transaction leaves, not who sent it, so the version before obeys it as it is:

- An event may be replaced by the same event of a later epoch, after Redis came back older than what Postgres has.
- A deleted event is, when its transaction ends, in the archive, or an event of a later epoch has taken its place.
- An archived order is deleted only with a seal that says so.  The version before makes none: until its dead-letter
  worker is replaced, archived orders whose time is over stay.
"""

import django.db.models.functions.datetime
from django.db import migrations, models

KEEPS = """
CREATE FUNCTION orders_keeps_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = format('%s keeps history: no %s', TG_TABLE_NAME, TG_OP);
END $$;
CREATE FUNCTION orders_event_replaced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.order_id, NEW.seq) = (OLD.order_id, OLD.seq) AND NEW.epoch > OLD.epoch THEN
        RETURN NEW;
    END IF;
    RAISE insufficient_privilege USING
        MESSAGE = format('event %s of order %s stands: no UPDATE', OLD.seq, OLD.order_id);
END $$;
CREATE FUNCTION orders_event_leaves() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM orders_archivedorder a
               WHERE a.id = OLD.order_id AND a.events @> jsonb_build_array(to_jsonb(OLD)))
       OR EXISTS (SELECT FROM orders_orderevent k
                  WHERE k.order_id = OLD.order_id AND k.seq <= OLD.seq AND k.epoch > OLD.epoch) THEN
        RETURN NULL;
    END IF;
    RAISE insufficient_privilege USING
        MESSAGE = format('event %s of order %s stands: no DELETE', OLD.seq, OLD.order_id);
END $$;
CREATE FUNCTION orders_archived_leaves() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE unsaid uuid;
BEGIN
    SELECT g.id INTO unsaid FROM gone g
    WHERE NOT EXISTS (SELECT FROM orders_seal s WHERE s.order_id = g.id AND s.kind = 'forgotten') LIMIT 1;
    IF FOUND THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('archived order %s stands: no DELETE without a seal that says so', unsaid);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER orders_event_replaced BEFORE UPDATE ON orders_orderevent
    FOR EACH ROW EXECUTE FUNCTION orders_event_replaced();
CREATE CONSTRAINT TRIGGER orders_event_leaves AFTER DELETE ON orders_orderevent
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION orders_event_leaves();
CREATE TRIGGER orders_event_kept BEFORE TRUNCATE ON orders_orderevent EXECUTE FUNCTION orders_keeps_history();
CREATE TRIGGER orders_archived_kept BEFORE UPDATE OR TRUNCATE ON orders_archivedorder
    EXECUTE FUNCTION orders_keeps_history();
CREATE TRIGGER orders_archived_leaves AFTER DELETE ON orders_archivedorder REFERENCING OLD TABLE AS gone
    EXECUTE FUNCTION orders_archived_leaves();
CREATE TRIGGER orders_seal_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON orders_seal
    EXECUTE FUNCTION orders_keeps_history();
CREATE TRIGGER orders_act_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON orders_act
    EXECUTE FUNCTION orders_keeps_history();
"""
NO_LONGER = """
DROP TRIGGER orders_event_replaced ON orders_orderevent;
DROP TRIGGER orders_event_leaves ON orders_orderevent;
DROP TRIGGER orders_event_kept ON orders_orderevent;
DROP TRIGGER orders_archived_kept ON orders_archivedorder;
DROP TRIGGER orders_archived_leaves ON orders_archivedorder;
DROP TRIGGER orders_seal_kept ON orders_seal;
DROP TRIGGER orders_act_kept ON orders_act;
DROP FUNCTION orders_keeps_history, orders_event_replaced, orders_event_leaves, orders_archived_leaves;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0016_trading_limits'),
    ]

    operations = [
        migrations.CreateModel(
            name='Act',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('who', models.CharField(help_text="The account in the admin; for a command, the operator's name.", max_length=150)),
                ('origin', models.CharField(help_text='The address of the browser, or the host of the command.', max_length=150)),
                ('what', models.CharField(max_length=60)),
                ('subject', models.CharField(help_text='What it was done to.', max_length=200)),
                ('reason', models.TextField()),
                ('outcome', models.TextField()),
                ('page', models.CharField(help_text='The page of the subject in the admin, if it has one.', max_length=300)),
            ],
            options={
                'verbose_name': "operator's act",
            },
        ),
        migrations.CreateModel(
            name='Seal',
            fields=[
                ('id', models.BigIntegerField(help_text='1 more than the seal before.', primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('start', 'from here on, what ends is sealed'), ('order', 'an order that has ended, with all its events'), ('act', "an operator's act"), ('forgotten', 'retention deleted this order for good')], max_length=9)),
                ('order_id', models.UUIDField(null=True)),
                ('act_id', models.BigIntegerField(null=True)),
                ('at', models.DateTimeField()),
                ('digests', models.BinaryField(help_text='16 bytes for each event, by seq; or for the act.')),
                ('head', models.BinaryField(help_text='Hash of this row and of the head before.')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('order_id__isnull', False)), fields=('order_id', 'kind'), name='order_sealed_once'), models.UniqueConstraint(condition=models.Q(('act_id__isnull', False)), fields=('act_id',), name='act_sealed_once')],
            },
        ),
        migrations.RunSQL(KEEPS, NO_LONGER),
    ]
