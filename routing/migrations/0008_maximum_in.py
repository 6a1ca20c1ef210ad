"""The ledger states what an exact output may take at most."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('routing', '0007_candles'),
    ]

    operations = [
        migrations.AddField(
            model_name='ledgerentry',
            name='maximum_in',
            field=models.DecimalField(decimal_places=0, help_text='Of a swap that pays exactly `minimum_out`.', max_digits=20, null=True),
        ),
    ]
