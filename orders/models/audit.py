"""What cannot be changed afterwards: operators' acts, and the seals by which a later change of history shows."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Act(models.Model):
    """One thing an operator did, or was refused, in the admin or by command; rows are only ever added."""

    at = models.DateTimeField(db_default=Now())
    who = models.CharField(max_length=150, help_text="The account in the admin; for a command, the operator's name.")
    origin = models.CharField(max_length=150, help_text="The address of the browser, or the host of the command.")
    what = models.CharField(max_length=60)
    subject = models.CharField(max_length=200, help_text="What it was done to.")
    reason = models.TextField()
    outcome = models.TextField()
    page = models.CharField(max_length=300, help_text="The page of the subject in the admin, if it has one.")

    class Meta:
        verbose_name = "operator's act"

    def __str__(self) -> str:
        return f"{self.who}: {self.what} {self.subject}"


class SealKind(models.TextChoices):
    """What a seal says."""

    START = "start", "from here on, what ends is sealed"
    ORDER = "order", "an order that has ended, with all its events"
    ACT = "act", "an operator's act"
    FORGOTTEN = "forgotten", "retention deleted this order for good"


class Seal(models.Model):
    """One link of the chain that history hangs on: see orders/stores/seals.py for what it hashes."""

    id = models.BigIntegerField(primary_key=True, help_text="1 more than the seal before.")
    kind = models.CharField(max_length=9, choices=SealKind)
    order_id = models.UUIDField(null=True)
    act_id = models.BigIntegerField(null=True)
    at = models.DateTimeField()
    digests = models.BinaryField(help_text="16 bytes for each event, by seq; or for the act.")
    head = models.BinaryField(help_text="Hash of this row and of the head before.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["order_id", "kind"], condition=Q(order_id__isnull=False), name="order_sealed_once"
            ),
            models.UniqueConstraint(fields=["act_id"], condition=Q(act_id__isnull=False), name="act_sealed_once"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.kind}"
