"""The model of risk limits gets its display name; nothing changes in the database."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0011_events_once'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='guard',
            options={'verbose_name': 'risk limit'},
        ),
    ]
