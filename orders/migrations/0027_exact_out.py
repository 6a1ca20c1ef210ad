"""A market order may buy an exact amount; an attempt for one keeps what its quote takes."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

ONLY_AT_MARKET = "exact_out_at_market"


class Migration(migrations.Migration):
    dependencies = [
        ('orders', '0026_positions'),
    ]

    operations = [
        migrations.AddField(
            model_name='attempt',
            name='expected_in',
            field=models.DecimalField(decimal_places=0, help_text='For an exact output, which is minimum_out: the input quoted; amount_in is its limit until it lands.', max_digits=20, null=True),
        ),
        migrations.AddField(
            model_name='order',
            name='amount_out',
            field=models.DecimalField(decimal_places=0, help_text='What a market order buys exactly; amount_in is then the most that it may spend.', max_digits=20, null=True),
        ),
        AddConstraintNotValid(
            model_name='order',
            constraint=models.CheckConstraint(condition=models.Q(('amount_out', None), models.Q(('amount_out__gt', 0), ('type', 'market')), _connector='OR'), name=ONLY_AT_MARKET),
        ),
    ]
