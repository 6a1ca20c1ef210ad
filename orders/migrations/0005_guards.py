"""What operators have moved of the guards; clients' names of orders, indexed for a search of their beginning."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

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
        migrations.RemoveConstraint(model_name='order', name='client_order_id_once'),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.UniqueConstraint(condition=models.Q(('client_order_id__isnull', False)), fields=('client_order_id',), name='client_order_id_once', opclasses=['varchar_pattern_ops']),
        ),
    ]
