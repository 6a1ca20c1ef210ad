"""What operators have paused."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0002_waiting_orders'),
    ]

    operations = [
        migrations.CreateModel(
            name='Pause',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope', models.CharField(choices=[('everything', 'everything'), ('pair', 'pair'), ('venue', 'venue')], max_length=10)),
                ('name', models.CharField(blank=True, help_text='The pair or venue; empty for everything.', max_length=64)),
                ('reason', models.CharField(help_text='Clients whose orders are refused read it.', max_length=200)),
                ('by', models.CharField(max_length=150)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('scope', 'name'), name='paused_once')],
            },
        ),
    ]
