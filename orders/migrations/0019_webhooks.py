"""Webhooks: addresses that accounts have their orders' events sent to."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0018_journal'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('all_accounts', models.BooleanField(db_default=False, help_text='Whether it gets the events of every account.')),
                ('url', models.CharField(max_length=500)),
                ('state', models.CharField(choices=[('active', 'active'), ('disabled', 'disabled'), ('failed', 'failed')], db_default='active', max_length=8)),
                ('secret_id', models.UUIDField()),
                ('old_secret_id', models.UUIDField(null=True)),
                ('old_secret_until', models.DateTimeField(help_text='Until then the old secret signs, too.', null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('cursor', models.BigIntegerField(help_text='Position of the journal up to which everything is delivered.')),
                ('replays', models.IntegerField(db_default=0, help_text='How often the cursor was set by hand.')),
                ('lease', models.UUIDField(help_text='Of the process that delivers now.', null=True)),
                ('leased_until', models.DateTimeField(null=True)),
                ('next_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='Not before then.')),
                ('failures', models.IntegerField(db_default=0, help_text='In a row.')),
                ('failing_since', models.DateTimeField(null=True)),
                ('last_at', models.DateTimeField(help_text='When it was last called.', null=True)),
                ('last_ms', models.IntegerField(db_default=0, help_text='How long that took.')),
                ('last_status', models.IntegerField(help_text='HTTP status of the answer; none without an answer.', null=True)),
                ('last_error', models.CharField(db_default='', max_length=300)),
                ('owner', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
    ]
