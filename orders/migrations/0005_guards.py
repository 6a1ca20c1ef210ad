"""What operators have moved of the guards; clients' names of orders, indexed for a search of their beginning."""

import django.db.models.functions.datetime
from django.db import migrations, models


UNIQUE = (
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS %s ON orders_order (client_order_id%s)"
    " WHERE client_order_id IS NOT NULL"
)
DROP = "DROP INDEX CONCURRENTLY IF EXISTS %s"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('orders', '0004_rare_ends'),
    ]

    operations = [
        migrations.CreateModel(
            name='Guard',
            fields=[
                ('name', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('value', models.BigIntegerField()),
                ('reason', models.CharField(max_length=200)),
                ('by', models.CharField(max_length=150)),
                ('moved_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        # The new one is made before the old one goes, and neither keeps an order waiting.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(UNIQUE % ("client_order_id_unique", " varchar_pattern_ops"), DROP % "client_order_id_unique"),
                migrations.RunSQL(DROP % "client_order_id_once", UNIQUE % ("client_order_id_once", "")),
            ],
            state_operations=[
                migrations.RemoveConstraint(model_name='order', name='client_order_id_once'),
                migrations.AddConstraint(
                    model_name='order',
                    constraint=models.UniqueConstraint(condition=models.Q(('client_order_id__isnull', False)), fields=('client_order_id',), name='client_order_id_unique', opclasses=['varchar_pattern_ops']),
                ),
            ],
        ),
    ]
