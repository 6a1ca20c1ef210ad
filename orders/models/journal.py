"""What all-order streams resume by."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class JournalRow(models.Model):
    """Events that an account's clients hear of, several orders at a time: see orders/stores/journal.py.

    The last order of the row is at `position`, the one before it at the position before.
    """

    position = models.BigIntegerField(primary_key=True)
    owner_id = models.IntegerField()
    order_ids = ArrayField(models.UUIDField())
    firsts = ArrayField(models.IntegerField(), help_text="Sequence number of each order's first event of these.")
    lasts = ArrayField(models.IntegerField(null=True), help_text="That of the last; none for all that there are.")
    epochs = ArrayField(models.IntegerField(null=True), help_text="Epoch of the last.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["owner_id", "position"], name="journal_of_owner")]

    def __str__(self) -> str:
        return f"{self.position}: {len(self.order_ids)} orders"
