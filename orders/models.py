"""Tables of orders, their events, their attempts and their dead letters: Postgres is the source of truth.

Amounts are base units; `numeric(20)` holds any u64.
"""

from collections.abc import Iterable

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from engine.lifecycle import FINAL, AttemptState, Status
from engine.orders import OrderType, TimeInForce

FINALS = sorted(FINAL)
WAITING = Q(status=Status.PENDING) & ~Q(type=OrderType.MARKET)
"""Orders that rest until their price or event comes, by their status in Postgres."""
AMENDED = WAITING & Q(terms_seq__gt=1)
MOVING = ~Q(status__in=FINALS) & (Q(type=OrderType.MARKET) | ~Q(status=Status.PENDING))
"""Unfinished orders that are not resting."""
MOVING_SQL = """
    NOT (status IN ('cancelled', 'confirmed', 'expired', 'failed')) AND (type = 'market' OR NOT (status = 'pending'))
"""
"""MOVING for a statement of its own: a condition in these words is served by the index `orders_moving`."""


def standing_at(statuses: Iterable[str]) -> Q:
    """Filter orders by status, with the conditions of the partial indexes: the matches may be few among all orders."""
    chosen = Q(pk__in=[])
    for status in statuses:
        here = Q(status=status)
        chosen |= WAITING | (MOVING & here) if status == Status.PENDING else here
    return chosen


class Order(models.Model):
    """One order.  Its status here trails the live one by moments, but an end without a fill is committed here first."""

    id = models.UUIDField(primary_key=True)
    type = models.CharField(max_length=10, choices=[(kind, kind) for kind in OrderType])
    pair = models.CharField(max_length=64, help_text="As it was asked for; by mint when the token had no name yet.")
    amount_in = models.DecimalField(max_digits=20, decimal_places=0)
    slippage_bps = models.IntegerField()
    limit_price = models.DecimalField(max_digits=40, decimal_places=18, null=True)
    max_price = models.DecimalField(max_digits=40, decimal_places=18, null=True)
    time_in_force = models.CharField(max_length=3, choices=[(t, t) for t in TimeInForce], db_default=TimeInForce.GTC)
    expires_at = models.DateTimeField(null=True)
    trigger = models.JSONField(db_default=[], help_text="Conditions of a sniper order.")
    allow_unknown = models.BooleanField(db_default=False)
    terms_seq = models.IntegerField(db_default=1, help_text="Sequence number of the event that last set the terms.")
    client_order_id = models.CharField(max_length=64, null=True)  # noqa: DJ001 - absent is not empty
    fingerprint = models.CharField(max_length=64, help_text="Hash of what was asked; tells a repeat from a conflict.")
    replay_of = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="replayed_as", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())

    status = models.CharField(max_length=10, choices=[(s, s) for s in Status], db_default=Status.PENDING)
    seq = models.IntegerField(db_default=1)
    epoch = models.IntegerField(db_default=0, help_text="Epoch of Redis in which its last event was made.")
    attempt = models.IntegerField(db_default=0)
    deadline_at = models.DateTimeField(
        null=True, help_text="A market order that could not be tried by then, whatever was away, fails."
    )
    updated_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(
        null=True, help_text="From here on no attempt may be made; set before anybody is told that it ended unfilled."
    )
    venue = models.CharField(max_length=16, db_default="")
    tx_hash = models.CharField(max_length=88, db_default="")
    result = models.JSONField(db_default={}, help_text="Facts of its last event.")

    class Meta:
        indexes = [
            models.Index(fields=["created_at"], name="orders_moving", condition=MOVING),
            models.Index(fields=["pair", "id"], name="orders_pair"),
            models.Index(fields=["id"], name="orders_waiting", condition=WAITING),
            models.Index(fields=["pair", "id"], name="orders_waiting_by_pair", condition=WAITING),
            models.Index(fields=["id"], name="orders_failed", condition=Q(status=Status.FAILED)),
            # For the rare final statuses: without an index, listing them would scan all orders.
            models.Index(fields=["id"], name="orders_cancelled", condition=Q(status=Status.CANCELLED)),
            models.Index(fields=["id"], name="orders_expired", condition=Q(status=Status.EXPIRED)),
            models.Index(fields=["type", "id"], name="orders_of_type", condition=~Q(type=OrderType.MARKET)),
            # For changes that a restarted Redis may have lost.
            models.Index(fields=["closed_at"], name="orders_closed", condition=Q(closed_at__isnull=False)),
            models.Index(fields=["updated_at"], name="orders_amended", condition=AMENDED),
        ]
        constraints = [
            # Partial: most orders have neither, and an index entry for a null costs as much as any other.
            models.UniqueConstraint(
                fields=["client_order_id"],
                condition=Q(client_order_id__isnull=False),
                name="client_order_id_unique",
                # The index then also serves prefix searches, whatever the collation of the database.
                opclasses=["varchar_pattern_ops"],
            ),
            models.UniqueConstraint(fields=["replay_of"], condition=Q(replay_of__isnull=False), name="replayed_once"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class OrderEvent(models.Model):
    """One event of an order, as published to clients."""

    pk = models.CompositePrimaryKey("order_id", "seq")
    # No database constraint: rows are inserted in batches, and one event without an order must not fail its batch.
    order = models.ForeignKey(
        Order, on_delete=models.CASCADE, related_name="events", db_constraint=False, db_index=False
    )
    seq = models.IntegerField()
    epoch = models.IntegerField(db_default=0, help_text="Epoch of Redis in which it was made.")
    status = models.CharField(max_length=10)
    at = models.DateTimeField()
    attempt = models.IntegerField()
    facts = models.JSONField()

    def __str__(self) -> str:
        return f"{self.order_id} {self.seq} {self.status}"


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
                fields=["client_order_id"],
                condition=Q(client_order_id__isnull=False),
                name="archived_client_order_id_once",
                opclasses=["varchar_pattern_ops"],
            ),
            models.UniqueConstraint(
                fields=["replay_of"], condition=Q(replay_of__isnull=False), name="archived_replayed_once"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class Scope(models.TextChoices):
    """What an operator can pause."""

    EVERYTHING = "everything", "everything"
    PAIR = "pair", "pair"
    VENUE = "venue", "venue"


class Pause(models.Model):
    """An operator's pause; the row is deleted on resume, and the admin's history keeps both actions."""

    scope = models.CharField(max_length=10, choices=Scope)
    name = models.CharField(max_length=64, blank=True, help_text="The pair or venue; empty for everything.")
    reason = models.CharField(max_length=200, help_text="Clients whose orders are refused read it.")
    by = models.CharField(max_length=150)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["scope", "name"], name="paused_once")]

    def __str__(self) -> str:
        return self.name or str(self.scope)


# The model keeps its first name: the table, permissions, the audit log and the admin's URLs use it.
class Guard(models.Model):
    """A risk limit that an operator changed; the row is deleted when the environment's value applies again."""

    name = models.CharField(primary_key=True, max_length=40)
    value = models.BigIntegerField()
    reason = models.CharField(max_length=200)
    by = models.CharField(max_length=150)
    moved_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "risk limit"

    def __str__(self) -> str:
        return self.name


class SetAside(models.Model):
    """A record DBSync could not write, kept unchanged with the reason; processing continues without it."""

    record = models.TextField()
    reason = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "record set aside"
        verbose_name_plural = "records set aside"

    def __str__(self) -> str:
        return self.reason
