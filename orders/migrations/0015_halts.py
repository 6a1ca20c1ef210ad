"""A pause can be a halt, which also stops accepted orders and may cancel what rests."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0014_owners'),
    ]

    operations = [
        migrations.AddField(
            model_name='pause',
            name='cancels_resting',
            field=models.BooleanField(db_default=False, help_text='Of a halt: orders that rest, or come back to rest, are cancelled.'),
        ),
        migrations.AddField(
            model_name='pause',
            name='state',
            field=models.CharField(choices=[('paused', 'paused'), ('halted', 'halted')], db_default='paused', max_length=10),
        ),
    ]
