"""What stops or limits a user or an API key is one row per id: a name may be another's by now."""

from django.db import migrations, models

STRONGEST = "CASE {row}.state WHEN 'halted' THEN 2 WHEN 'paused' THEN 1 ELSE 0 END"
# Of a user who was renamed and stopped again: the stronger, or later, stop stays; of limits the later.
STOPS = f"""
    DELETE FROM orders_pause p USING orders_pause q
    WHERE p.scope = q.scope AND p.subject = q.subject
      AND ({STRONGEST.format(row='p')}, p.id) < ({STRONGEST.format(row='q')}, q.id)
"""
LIMITS = """
    DELETE FROM orders_tradinglimit p USING orders_tradinglimit q
    WHERE p.scope = q.scope AND p.subject = q.subject AND p.kind = q.kind AND p.id < q.id
"""


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0023_open_orders_reserved'),
    ]

    operations = [
        migrations.RunSQL([STOPS, LIMITS], migrations.RunSQL.noop),
        migrations.RemoveConstraint(model_name='pause', name='paused_once'),
        migrations.RemoveConstraint(model_name='tradinglimit', name='trading_limit_once'),
        migrations.AddConstraint(
            model_name='pause',
            constraint=models.UniqueConstraint(condition=models.Q(('subject', None)), fields=('scope', 'name'), name='named_paused_once'),
        ),
        migrations.AddConstraint(
            model_name='pause',
            constraint=models.UniqueConstraint(fields=('scope', 'subject'), name='subject_paused_once'),
        ),
        migrations.AddConstraint(
            model_name='tradinglimit',
            constraint=models.UniqueConstraint(condition=models.Q(('subject', None)), fields=('scope', 'name', 'kind'), name='named_limit_once'),
        ),
        migrations.AddConstraint(
            model_name='tradinglimit',
            constraint=models.UniqueConstraint(fields=('scope', 'subject', 'kind'), name='subject_limit_once'),
        ),
    ]
