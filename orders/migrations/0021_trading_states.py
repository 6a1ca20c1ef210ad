"""Users and keys can be stopped, trading can be reducing, an order knows its key, and a key may cancel on disconnect."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0020_incident_notes'),
    ]

    operations = [
        migrations.AddField(
            model_name='apikey',
            name='cancels_on_disconnect',
            field=models.BooleanField(db_default=False, help_text='Cancel what rests and was placed with it when the last of its WebSockets is gone.'),
        ),
        migrations.AddField(
            model_name='order',
            name='api_key',
            field=models.BigIntegerField(help_text='Id of the API key that placed it, if one did.', null=True),
        ),
        migrations.AddField(
            model_name='pause',
            name='subject',
            field=models.BigIntegerField(help_text='Id of the user or key.', null=True),
        ),
        migrations.AlterField(
            model_name='pause',
            name='name',
            field=models.CharField(blank=True, help_text="The pair, venue, user or key's prefix; empty for everything.", max_length=150),
        ),
        migrations.AlterField(
            model_name='pause',
            name='scope',
            field=models.CharField(choices=[('everything', 'everything'), ('pair', 'pair'), ('venue', 'venue'), ('user', 'user'), ('key', 'API key')], max_length=10),
        ),
        migrations.AlterField(
            model_name='pause',
            name='state',
            field=models.CharField(choices=[('paused', 'paused'), ('halted', 'halted'), ('reducing', 'reducing')], db_default='paused', max_length=10),
        ),
        migrations.AlterField(
            model_name='tradinglimit',
            name='kind',
            field=models.CharField(choices=[('order-value', 'value of one order, USD'), ('day-value', "value of a day's orders (UTC), USD"), ('slippage', 'slippage of an order, bps'), ('impact', 'price impact of an order, bps'), ('repeat', 'time before the same order may be repeated, s'), ('tokens', 'tokens that may be traded'), ('venues', 'venues that may be traded at')], max_length=12),
        ),
    ]
