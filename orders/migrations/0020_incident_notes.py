"""Incident notes."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0019_webhooks'),
    ]

    operations = [
        migrations.CreateModel(
            name='IncidentNote',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject', models.CharField(help_text="A part of the dashboard's strip, or an alert.", max_length=60, unique=True)),
                ('note', models.CharField(help_text='What is known, and what is done about it.', max_length=200)),
                ('by', models.CharField(max_length=150)),
                ('noted_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('until', models.DateTimeField()),
            ],
            options={
                'permissions': [('restart_role', 'Can restart a role')],
            },
        ),
    ]
