"""Room in each page for the updates of its rows, which else go to another page and are logged there and here.

An order's row grows threefold until its end and is updated twice; an attempt's is updated twice.  Affects pages that
are written from now on.
"""

from django.db import migrations

ROOM = "ALTER TABLE orders_order SET (fillfactor = 30); ALTER TABLE orders_attempt SET (fillfactor = 50)"
AS_BEFORE = "ALTER TABLE orders_order RESET (fillfactor); ALTER TABLE orders_attempt SET (fillfactor = 60)"


class Migration(migrations.Migration):
    dependencies = [("orders", "0012_risk_limits")]
    operations = [migrations.RunSQL(ROOM, AS_BEFORE)]
