"""What all-order streams resume by."""

from django.db import models
from django.db.models.functions import Now


class JournalEntry(models.Model):
    """Events of an order that its owner's clients hear of at this position: see orders/stores/journal.py."""

    position = models.BigAutoField(primary_key=True)
    owner_id = models.IntegerField()
    order_id = models.UUIDField()
    first = models.IntegerField(help_text="Sequence number of the first of these events.")
    last = models.IntegerField(null=True, help_text="That of the last; none for all that there are.")
    epoch = models.IntegerField(null=True, help_text="Epoch of the last.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["owner_id", "position"], name="journal_of_owner")]

    def __str__(self) -> str:
        return f"{self.position} {self.order_id}"
