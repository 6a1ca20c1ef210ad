"""What is kept of orders that have ended: dead letters, and retired orders."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from orders.models.order import Order


class Verdict(models.TextChoices):
    """Whether a dead letter may be replayed."""

    SAFE = "safe", "safe to replay"
    LANDED = "landed", "landed, do not replay"
    WAIT = "wait", "wait: an attempt is still open"


class DeadLetter(models.Model):
    """A dead letter: an order that failed for good, with the reason, its history and whether it may be replayed."""

    order = models.OneToOneField(Order, on_delete=models.PROTECT, related_name="dead_letter")
    code = models.CharField(max_length=40)
    reason = models.TextField()
    replay_may_help = models.BooleanField()
    history = models.JSONField()
    verdict = models.CharField(max_length=10, choices=Verdict)
    created_at = models.DateTimeField(db_default=Now())
    replayed_at = models.DateTimeField(null=True)
    replayed_by = models.CharField(max_length=150, db_default="")

    def __str__(self) -> str:
        return f"{self.order_id}: {self.code}"


class ArchivedOrder(models.Model):
    """A retired order: finished, and moved out of the tables above with all its rows (orders/operations/retention.py).

    Its rows are stored as JSON documents with all columns of their tables; a column added later reads as null for
    orders retired before.  Unique values stay unique across both tables: see the trigger `orders_once_for_good`.
    """

    id = models.UUIDField(primary_key=True)
    owner_id = models.IntegerField(null=True)
    client_order_id = models.CharField(max_length=64, null=True)  # noqa: DJ001 - absent is not empty
    replay_of = models.UUIDField(null=True, help_text="The order it replayed.")
    tx_hash = models.CharField(max_length=88, help_text="Its last transaction; empty for none.")
    archived_at = models.DateTimeField(db_default=Now())
    columns = models.JSONField(help_text="Its row.")
    events = models.JSONField(help_text="Rows of its events.")
    attempts = models.JSONField(help_text="Rows of its attempts.")
    letter = models.JSONField(null=True, help_text="The row of its dead letter.")

    class Meta:
        indexes = [
            models.Index(fields=["archived_at"], name="archived_orders_at"),
            models.Index(
                fields=["tx_hash"],
                name="archived_orders_hash",
                condition=~Q(tx_hash=""),
                opclasses=["varchar_pattern_ops"],
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["client_order_id", "owner_id"],
                condition=Q(client_order_id__isnull=False),
                name="archived_client_id_once",
                nulls_distinct=False,
                opclasses=["varchar_pattern_ops", "int4_ops"],
            ),
            models.UniqueConstraint(
                fields=["replay_of"], condition=Q(replay_of__isnull=False), name="archived_replayed_once"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)
