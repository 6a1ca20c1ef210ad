"""Indexes of what ended or was amended lately: a Redis that was started again may have forgotten it."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

import engine.lifecycle
import engine.orders


class Migration(migrations.Migration):
    # So that no order waits for them, however many there are.
    atomic = False

    dependencies = [
        ('orders', '0008_epochs_and_terms'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='order',
            index=models.Index(condition=models.Q(('closed_at__isnull', False)), fields=['closed_at'], name='orders_closed'),
        ),
        AddIndexConcurrently(
            model_name='order',
            index=models.Index(condition=models.Q(('status', engine.lifecycle.Status['PENDING']), models.Q(('type', engine.orders.OrderType['MARKET']), _negated=True), ('terms_seq__gt', 1)), fields=['updated_at'], name='orders_amended'),
        ),
    ]
