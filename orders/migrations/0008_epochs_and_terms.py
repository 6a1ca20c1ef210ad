"""Columns for what each attempt was built on, for the epoch of each event, and for the deadline of market orders."""

import engine.lifecycle
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0007_retention'),
    ]

    operations = [
        migrations.AddField(
            model_name='attempt',
            name='amount_in',
            field=models.DecimalField(decimal_places=0, help_text='What it sells; the order may have been amended since.', max_digits=20, null=True),
        ),
        migrations.AddField(
            model_name='attempt',
            name='limit_price',
            field=models.DecimalField(decimal_places=18, max_digits=40, null=True),
        ),
        migrations.AddField(
            model_name='attempt',
            name='terms_seq',
            field=models.IntegerField(db_default=1, help_text="Version of the order's terms it was built on."),
        ),
        migrations.AddField(
            model_name='order',
            name='deadline_at',
            field=models.DateTimeField(help_text='A market order that could not be tried by then, whatever was away, fails.', null=True),
        ),
        migrations.AddField(
            model_name='order',
            name='epoch',
            field=models.IntegerField(db_default=0, help_text='Epoch of Redis in which its last event was made.'),
        ),
        migrations.AddField(
            model_name='orderevent',
            name='epoch',
            field=models.IntegerField(db_default=0, help_text='Epoch of Redis in which it was made.'),
        ),
        migrations.AlterField(
            model_name='attempt',
            name='state',
            field=models.CharField(choices=[(engine.lifecycle.AttemptState['PREPARED'], engine.lifecycle.AttemptState['PREPARED']), (engine.lifecycle.AttemptState['SENT'], engine.lifecycle.AttemptState['SENT']), (engine.lifecycle.AttemptState['LANDED'], engine.lifecycle.AttemptState['LANDED']), (engine.lifecycle.AttemptState['REJECTED'], engine.lifecycle.AttemptState['REJECTED']), (engine.lifecycle.AttemptState['EXPIRED'], engine.lifecycle.AttemptState['EXPIRED']), (engine.lifecycle.AttemptState['WITHDRAWN'], engine.lifecycle.AttemptState['WITHDRAWN'])], max_length=10),
        ),
    ]
