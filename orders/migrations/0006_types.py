"""An index of the types of order that wait: a list of one of them would else be looked for among all orders."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

import engine.orders


class Migration(migrations.Migration):
    # So that no order waits for it, however many there are.
    atomic = False

    dependencies = [
        ('orders', '0005_guards'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='order',
            index=models.Index(condition=models.Q(('type', engine.orders.OrderType['MARKET']), _negated=True), fields=['type', 'id'], name='orders_of_type'),
        ),
    ]
