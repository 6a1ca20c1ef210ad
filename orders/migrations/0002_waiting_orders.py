"""What limit and sniper orders ask for, and the try an attempt was."""

import engine.lifecycle
import engine.orders
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0001_initial'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='order',
            name='orders_open',
        ),
        migrations.AddField(
            model_name='attempt',
            name='tries',
            field=models.IntegerField(db_default=1, help_text='Which try since the order last rested; these are limited.'),
        ),
        migrations.AddField(
            model_name='order',
            name='allow_unknown',
            field=models.BooleanField(db_default=False),
        ),
        migrations.AddField(
            model_name='order',
            name='expires_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='order',
            name='limit_price',
            field=models.DecimalField(decimal_places=18, max_digits=40, null=True),
        ),
        migrations.AddField(
            model_name='order',
            name='max_price',
            field=models.DecimalField(decimal_places=18, max_digits=40, null=True),
        ),
        migrations.AddField(
            model_name='order',
            name='terms_seq',
            field=models.IntegerField(db_default=1, help_text='Sequence number of the event that last set the terms.'),
        ),
        migrations.AddField(
            model_name='order',
            name='time_in_force',
            field=models.CharField(choices=[(engine.orders.TimeInForce['GTC'], engine.orders.TimeInForce['GTC']), (engine.orders.TimeInForce['GTD'], engine.orders.TimeInForce['GTD']), (engine.orders.TimeInForce['IOC'], engine.orders.TimeInForce['IOC'])], db_default=engine.orders.TimeInForce['GTC'], max_length=3),
        ),
        migrations.AddField(
            model_name='order',
            name='trigger',
            field=models.JSONField(db_default=[], help_text='Conditions of a sniper order.'),
        ),
        migrations.AlterField(
            model_name='order',
            name='pair',
            field=models.CharField(help_text='As it was asked for; by mint when the token had no name yet.', max_length=64),
        ),
        migrations.AlterField(
            model_name='order',
            name='type',
            field=models.CharField(choices=[(engine.orders.OrderType['MARKET'], engine.orders.OrderType['MARKET']), (engine.orders.OrderType['LIMIT'], engine.orders.OrderType['LIMIT']), (engine.orders.OrderType['SNIPER'], engine.orders.OrderType['SNIPER'])], max_length=10),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(condition=models.Q(models.Q(('status__in', [engine.lifecycle.Status['CANCELLED'], engine.lifecycle.Status['CONFIRMED'], engine.lifecycle.Status['EXPIRED'], engine.lifecycle.Status['FAILED']]), _negated=True), models.Q(('type', engine.orders.OrderType['MARKET']), models.Q(('status', engine.lifecycle.Status['PENDING']), _negated=True), _connector='OR')), fields=['created_at'], name='orders_moving'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(condition=models.Q(('status', engine.lifecycle.Status['PENDING']), models.Q(('type', engine.orders.OrderType['MARKET']), _negated=True)), fields=['id'], name='orders_waiting'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(condition=models.Q(('status', engine.lifecycle.Status['PENDING']), models.Q(('type', engine.orders.OrderType['MARKET']), _negated=True)), fields=['pair', 'id'], name='orders_waiting_by_pair'),
        ),
    ]
