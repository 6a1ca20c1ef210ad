"""Webhooks that an operator stopped; no statement, the choices are Python's alone."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0024_stops_by_id'),
    ]

    operations = [
        migrations.AlterField(
            model_name='webhook',
            name='state',
            field=models.CharField(choices=[('active', 'active'), ('disabled', 'disabled'), ('stopped', 'stopped by an operator'), ('failed', 'failed')], db_default='active', max_length=8),
        ),
    ]
