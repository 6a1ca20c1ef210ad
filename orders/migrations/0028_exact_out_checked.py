"""The rows are checked without the lock under which 0027 adds the constraint, so that one can be tried again by itself."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('orders', '0027_exact_out'),
    ]

    operations = [
        ValidateConstraint(model_name='order', name="exact_out_at_market"),
    ]
