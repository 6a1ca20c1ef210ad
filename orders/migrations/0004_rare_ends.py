"""Indexes of the ends that are rare, so that a list of them is not looked for among all orders."""

import engine.lifecycle
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0003_pauses'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='attempt',
            index=models.Index(condition=models.Q(('state', engine.lifecycle.AttemptState['EXPIRED'])), fields=['id'], name='attempts_expired'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(condition=models.Q(('status', engine.lifecycle.Status['CANCELLED'])), fields=['id'], name='orders_cancelled'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(condition=models.Q(('status', engine.lifecycle.Status['EXPIRED'])), fields=['id'], name='orders_expired'),
        ),
    ]
