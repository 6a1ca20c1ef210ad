"""API keys, and whose an order is.  A client order id is then unique to its owner, also across the archive.

The new unique indexes are made before the old ones go, so that no order can be placed twice meanwhile.  An older
version places orders of no owner, which are unique among themselves as before.  The trigger keeps a name that one
version has used from being used again by the other.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

UNIQUE = """
    CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS %s ON %s (client_order_id varchar_pattern_ops, owner_id int4_ops)
    NULLS NOT DISTINCT WHERE client_order_id IS NOT NULL
"""
WITHOUT_OWNER = """
    CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS %s ON %s (client_order_id varchar_pattern_ops)
    WHERE client_order_id IS NOT NULL
"""
DROP = "DROP INDEX CONCURRENTLY IF EXISTS %s"
BEFORE = """
CREATE OR REPLACE FUNCTION orders_refuse_archived() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM orders_archivedorder WHERE client_order_id = NEW.client_order_id) THEN
        RAISE unique_violation USING MESSAGE = format('client order id %s names an archived order', NEW.client_order_id);
    ELSIF EXISTS (SELECT 1 FROM orders_archivedorder WHERE replay_of = NEW.replay_of_id) THEN
        RAISE unique_violation USING MESSAGE = format('the replay of %s is archived', NEW.replay_of_id);
    END IF;
    RETURN NULL;
END $$
"""
AFTER = """
CREATE OR REPLACE FUNCTION orders_refuse_archived() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM orders_archivedorder WHERE client_order_id = NEW.client_order_id
               AND (owner_id = NEW.owner_id OR owner_id IS NULL OR NEW.owner_id IS NULL)) THEN
        RAISE unique_violation USING MESSAGE = format('client order id %s names an archived order', NEW.client_order_id);
    ELSIF EXISTS (SELECT 1 FROM orders_archivedorder WHERE replay_of = NEW.replay_of_id) THEN
        RAISE unique_violation USING MESSAGE = format('the replay of %s is archived', NEW.replay_of_id);
    ELSIF NEW.client_order_id IS NOT NULL THEN
        -- Two versions that place one name at once see each other here: the one without accounts, and this one.
        PERFORM pg_advisory_xact_lock(hashtextextended(NEW.client_order_id, 0));
        IF EXISTS (SELECT 1 FROM orders_order WHERE client_order_id = NEW.client_order_id AND id <> NEW.id
                   AND (owner_id IS NULL OR NEW.owner_id IS NULL)) THEN
            RAISE unique_violation
                USING MESSAGE = format('client order id %s names an order of another version', NEW.client_order_id);
        END IF;
    END IF;
    RETURN NULL;
END $$
"""


def once(table, name, before):
    return [
        migrations.RunSQL(UNIQUE % (name, table), DROP % name),
        migrations.RunSQL(DROP % before, WITHOUT_OWNER % (before, table)),
    ]


def constraint(name, owner):
    return models.UniqueConstraint(
        fields=("client_order_id", owner),
        condition=models.Q(("client_order_id__isnull", False)),
        name=name,
        nulls_distinct=False,
        opclasses=["varchar_pattern_ops", "int4_ops"],
    )


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("orders", "0013_room_for_updates"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(help_text="Who or what uses it.", max_length=80)),
                ("prefix", models.CharField(editable=False, help_text="The readable part of the key.", max_length=16, unique=True)),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("scopes", models.JSONField(help_text="What it may do: read, trade, cancel, admin.")),
                ("orders_per_minute", models.PositiveIntegerField(blank=True, help_text="Orders it may place per minute.", null=True)),
                ("open_orders_max", models.PositiveIntegerField(blank=True, help_text="Orders of its owner that may rest when it places another.", null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(editable=False, null=True)),
                ("last_used_at", models.DateTimeField(editable=False, help_text="To the minute.", null=True)),
                ("owner", models.ForeignKey(help_text="The account whose orders it places and sees.", on_delete=django.db.models.deletion.PROTECT, related_name="api_keys", to=settings.AUTH_USER_MODEL)),
            ],
            options={"verbose_name": "API key"},
        ),
        migrations.AddField(
            model_name="archivedorder",
            name="owner_id",
            field=models.IntegerField(null=True),
        ),
        migrations.AddField(
            model_name="order",
            name="owner",
            field=models.ForeignKey(db_constraint=False, db_index=False, help_text="The account that placed it; none for orders older than accounts.", null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL),
        ),
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(fields=["owner", "id"], name="orders_of_owner"),
        ),
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                fields=["owner"],
                name="orders_waiting_of_owner",
                condition=models.Q(("status", "pending"), models.Q(("type", "market"), _negated=True)),
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                *once("orders_order", "client_order_id_once", "client_order_id_unique"),
                *once("orders_archivedorder", "archived_client_id_once", "archived_client_order_id_once"),
                migrations.RunSQL(AFTER, BEFORE),
            ],
            state_operations=[
                migrations.RemoveConstraint("order", "client_order_id_unique"),
                migrations.RemoveConstraint("archivedorder", "archived_client_order_id_once"),
                migrations.AddConstraint("order", constraint("client_order_id_once", "owner")),
                migrations.AddConstraint("archivedorder", constraint("archived_client_id_once", "owner_id")),
            ],
        ),
    ]
