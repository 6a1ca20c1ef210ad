"""An order keeps the epoch of its first event: after a loss of Redis its row has that of the last one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ('orders', '0028_exact_out_checked'),
    ]

    operations = [
        migrations.AddField(
            model_name='order',
            name='accepted_epoch',
            field=models.IntegerField(help_text='Epoch of its first event, which it keeps in later ones.', null=True),
        ),
    ]
