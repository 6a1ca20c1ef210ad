"""The journal: what all-order streams resume by."""

import django.contrib.postgres.fields
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0017_append_only'),
    ]

    operations = [
        migrations.CreateModel(
            name='JournalRow',
            fields=[
                ('position', models.BigIntegerField(primary_key=True, serialize=False)),
                ('owner_id', models.IntegerField()),
                ('order_ids', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), size=None)),
                ('firsts', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), help_text="Sequence number of each order's first event of these.", size=None)),
                ('lasts', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(null=True), help_text='That of the last; none for all that there are.', size=None)),
                ('epochs', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(null=True), help_text='Epoch of the last.', size=None)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'indexes': [models.Index(fields=['owner_id', 'position'], name='journal_of_owner')],
            },
        ),
    ]
