"""One index of attempts' signatures, for equality and for a search by their beginning, in the place of two."""

from django.db import migrations, models

UNIQUE = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS %s ON orders_attempt (signature%s)"
DROP = "DROP INDEX CONCURRENTLY IF EXISTS %s"
LIKE = "orders_attempt_signature_eddcaf50_like"
KEY = "orders_attempt_signature_key"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('orders', '0009_recent_ends'),
    ]

    operations = [
        # The new one is made before the old ones go, and none keeps an order waiting.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(UNIQUE % ("attempt_signature", " varchar_pattern_ops"), DROP % "attempt_signature"),
                migrations.RunSQL(
                    DROP % LIKE, f"CREATE INDEX CONCURRENTLY {LIKE} ON orders_attempt (signature varchar_pattern_ops)"
                ),
                migrations.RunSQL(
                    f"ALTER TABLE orders_attempt DROP CONSTRAINT IF EXISTS {KEY}",
                    f"ALTER TABLE orders_attempt ADD CONSTRAINT {KEY} UNIQUE (signature)",
                ),
            ],
            state_operations=[
                migrations.AlterField('attempt', 'signature', models.CharField(max_length=88)),
                migrations.AddConstraint(
                    model_name='attempt',
                    constraint=models.UniqueConstraint(fields=('signature',), name='attempt_signature', opclasses=['varchar_pattern_ops']),
                ),
            ],
        ),
    ]
