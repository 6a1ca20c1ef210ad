"""Trading limits, and what orders use of the daily ones."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0015_halts'),
    ]

    operations = [
        migrations.CreateModel(
            name='TradingLimit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope', models.CharField(choices=[('everything', 'everything'), ('user', 'user'), ('key', 'API key'), ('pair', 'pair'), ('token', 'token')], max_length=10)),
                ('name', models.CharField(blank=True, help_text='The user, key, pair or token; empty for everything.', max_length=150)),
                ('subject', models.BigIntegerField(help_text='Id of the user or key.', null=True)),
                ('kind', models.CharField(choices=[('order-value', 'value of one order, USD'), ('day-value', "value of a day's orders (UTC), USD"), ('slippage', 'slippage of an order, bps'), ('repeat', 'time before the same order may be repeated, s'), ('tokens', 'tokens that may be traded'), ('venues', 'venues that may be traded at')], max_length=12)),
                ('value', models.BigIntegerField(default=0, help_text='In the unit of its kind.')),
                ('allowed', models.JSONField(default=list, help_text='Of tokens and venues: the names that are allowed.')),
                ('reason', models.CharField(max_length=200)),
                ('by', models.CharField(max_length=150)),
                ('set_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('scope', 'name', 'kind'), name='trading_limit_once')],
            },
        ),
        migrations.CreateModel(
            name='TradingLimitUse',
            fields=[
                ('pk', models.CompositePrimaryKey('limit_id', 'day', blank=True, editable=False, primary_key=True, serialize=False)),
                ('day', models.DateField()),
                ('used', models.DecimalField(db_default=0, decimal_places=2, max_digits=30)),
                ('limit', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='orders.tradinglimit')),
            ],
        ),
        migrations.CreateModel(
            name='TradingLimitHold',
            fields=[
                ('pk', models.CompositePrimaryKey('order_id', 'limit_id', 'day', blank=True, editable=False, primary_key=True, serialize=False)),
                ('day', models.DateField()),
                ('value', models.DecimalField(decimal_places=2, max_digits=30)),
                ('limit', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='orders.tradinglimit')),
                ('order', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='orders.order')),
            ],
            options={
                'indexes': [models.Index(fields=['day'], name='trading_limit_hold_day')],
            },
        ),
    ]
