"""Attempts: the transactions an order was sent as."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from engine.lifecycle import AttemptState
from orders.models.order import Order


class Attempt(models.Model):
    """One signed transaction.  It is committed before it is sent; at most one per order is open or landed.

    No index covers a column that changes while an attempt is sent and lands, so both updates are HOT.  `error_code`
    stands for the state: the trigger `orders_void_attempt` keeps it non-empty for attempts that came to nothing.
    """

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="attempts")
    number = models.IntegerField()
    tries = models.IntegerField(db_default=1, help_text="Which try since the order last rested; these are limited.")
    state = models.CharField(max_length=10, choices=[(s, s) for s in AttemptState])
    venue = models.CharField(max_length=16)
    signature = models.CharField(max_length=88)
    raw = models.BinaryField()
    last_valid_height = models.BigIntegerField()
    expected_out = models.DecimalField(max_digits=20, decimal_places=0)
    minimum_out = models.DecimalField(max_digits=20, decimal_places=0)
    fee_bps = models.IntegerField()
    amount_in = models.DecimalField(
        max_digits=20, decimal_places=0, null=True, help_text="What it sells; the order may have been amended since."
    )
    expected_in = models.DecimalField(
        max_digits=20,
        decimal_places=0,
        null=True,
        help_text="For an exact output, which is minimum_out: the input quoted; amount_in is its limit until it lands.",
    )
    limit_price = models.DecimalField(max_digits=40, decimal_places=18, null=True)
    terms_seq = models.IntegerField(db_default=1, help_text="Version of the order's terms it was built on.")
    seq = models.IntegerField(help_text="Sequence number of the order's `submitted` event for this attempt.")
    epoch = models.IntegerField(db_default=0, help_text="Epoch of Redis in which that event was made.")
    submitted_at = models.DateTimeField(null=True, help_text="The time that event states.")
    trail = models.JSONField(db_default=[], help_text="The order's events before that one, by an earlier version.")
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(db_default=Now(), help_text="Last time the bytes were broadcast.")
    sends = models.IntegerField(db_default=0)
    settled_at = models.DateTimeField(null=True)
    slot = models.BigIntegerField(null=True)
    amount_out = models.DecimalField(max_digits=20, decimal_places=0, null=True)
    position_step = models.IntegerField(
        null=True,
        help_text="Which step of its account's position counted it; what a step bought came before its sales.",
    )
    fee_lamports = models.BigIntegerField(null=True)
    error_code = models.CharField(
        max_length=40,
        db_default="",
        help_text="Why it came to nothing; empty while it may still land, and once it has.",
    )
    error = models.TextField(db_default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["order"], condition=Q(error_code=""), name="one_open_or_landed_attempt"),
            # One index for equality and for prefix searches: Django would create two, on 88 characters each.
            models.UniqueConstraint(fields=["signature"], name="attempt_signature", opclasses=["varchar_pattern_ops"]),
        ]
        indexes = [
            # For the rare states: without an index, listing them would scan all attempts.
            models.Index(fields=["id"], name="attempts_void", condition=~Q(error_code="")),
        ]

    def __str__(self) -> str:
        return self.signature
