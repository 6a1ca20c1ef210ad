"""Add ticks for limit prices, and token facts for the token checks of sniper orders."""
import django.core.validators
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('routing', '0002_tokens_and_pairs'),
    ]

    operations = [
        migrations.AddField(
            model_name='pair',
            name='tick',
            field=models.DecimalField(decimal_places=18, default=Decimal('1E-9'), help_text='A limit price is a whole number of these: tokens out per token in.', max_digits=30, validators=[django.core.validators.MinValueValidator(Decimal('1E-18'))]),
        ),
        migrations.AddField(
            model_name='token',
            name='freeze_authority',
            field=models.CharField(blank=True, help_text='Who may freeze holdings; empty when nobody can.', max_length=44, null=True),
        ),
        migrations.AddField(
            model_name='token',
            name='mint_authority',
            field=models.CharField(blank=True, help_text='Who may mint more; empty when nobody can, null: unknown.', max_length=44, null=True),
        ),
        migrations.AddField(
            model_name='token',
            name='top_holder_bps',
            field=models.PositiveIntegerField(blank=True, help_text="The largest holder's share, in bps.", null=True, validators=[django.core.validators.MaxValueValidator(10000)]),
        ),
        migrations.AddConstraint(
            model_name='pair',
            constraint=models.CheckConstraint(condition=models.Q(('tick__gt', 0)), name='pair_tick_above_zero'),
        ),
    ]
