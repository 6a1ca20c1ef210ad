"""Add epochs of Redis, tokens' last known market data, and the public data of each sandbox transaction."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('routing', '0004_known_ticks_and_facts'),
    ]

    operations = [
        migrations.CreateModel(
            name='StoreEpoch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('run', models.CharField(help_text='The run id of the Redis server it began on.', max_length=64)),
                ('reason', models.CharField(max_length=200)),
                ('began_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name='TokenMarket',
            fields=[
                ('mint', models.CharField(max_length=44, primary_key=True, serialize=False)),
                ('pools', models.PositiveIntegerField()),
                ('liquidity', models.BigIntegerField(null=True)),
                ('observed_at', models.DateTimeField(help_text='When the newest of what it rests on happened.')),
            ],
        ),
        migrations.AddField(
            model_name='ledgerentry',
            name='amount_in',
            field=models.DecimalField(decimal_places=0, max_digits=20, null=True),
        ),
        migrations.AddField(
            model_name='ledgerentry',
            name='memo',
            field=models.CharField(blank=True, db_default='', max_length=64),
        ),
        migrations.AddField(
            model_name='ledgerentry',
            name='minimum_out',
            field=models.DecimalField(decimal_places=0, max_digits=20, null=True),
        ),
        migrations.AddField(
            model_name='ledgerentry',
            name='venue',
            field=models.CharField(blank=True, db_default='', max_length=16),
        ),
        migrations.AddField(
            model_name='token',
            name='facts_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='When authorities and top holder were last looked up; facts do not stay true.'),
        ),
    ]
