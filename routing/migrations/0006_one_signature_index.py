"""Drop the prefix-search index on the ledger's signatures, which are compared only for equality."""

from django.db import migrations

LIKE = "routing_ledgerentry_signature_828c5853_like"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('routing', '0005_epochs_and_records'),
    ]

    operations = [
        migrations.RunSQL(
            f"DROP INDEX CONCURRENTLY IF EXISTS {LIKE}",
            f"CREATE INDEX CONCURRENTLY {LIKE} ON routing_ledgerentry (signature varchar_pattern_ops)",
        ),
    ]
