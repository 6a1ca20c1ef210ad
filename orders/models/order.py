"""Orders and their events."""

from collections.abc import Iterable

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from engine.lifecycle import FINAL, Status
from engine.orders import OrderType, TimeInForce
from engine.quotes import QUOTE_TOKENS

FINALS = sorted(FINAL)
WAITING = Q(status=Status.PENDING) & ~Q(type=OrderType.MARKET)
"""Orders that rest until their price or event comes, by their status in Postgres."""
AMENDED = WAITING & Q(terms_seq__gt=1)
MOVING = ~Q(status__in=FINALS) & (Q(type=OrderType.MARKET) | ~Q(status=Status.PENDING))
"""Unfinished orders that are not resting."""
WAITING_SQL = "status = 'pending' AND NOT (type = 'market')"
"""WAITING for a statement of its own, in the words of its indexes."""
MOVING_SQL = """
    NOT (status IN ('cancelled', 'confirmed', 'expired', 'failed')) AND (type = 'market' OR NOT (status = 'pending'))
"""
"""MOVING for a statement of its own: a condition in these words is served by the index `orders_moving`."""

QUOTES = ", ".join(f"'{symbol}'" for symbol in QUOTE_TOKENS)
BUYS_SQL = " <= ".join(
    f"coalesce(array_position(ARRAY[{QUOTES}], split_part(o.pair, '-', {side})), {len(QUOTE_TOKENS) + 1})"
    for side in (1, 2)
)
"""Whether an order `o` buys, as Pair.buys has it."""


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
    amount_out = models.DecimalField(
        max_digits=20,
        decimal_places=0,
        null=True,
        help_text="What a market order buys exactly; amount_in is then the most that it may spend.",
    )
    slippage_bps = models.IntegerField()
    limit_price = models.DecimalField(max_digits=40, decimal_places=18, null=True)
    max_price = models.DecimalField(max_digits=40, decimal_places=18, null=True)
    time_in_force = models.CharField(max_length=3, choices=[(t, t) for t in TimeInForce], db_default=TimeInForce.GTC)
    expires_at = models.DateTimeField(null=True)
    trigger = models.JSONField(db_default=[], help_text="Conditions of a sniper order.")
    allow_unknown = models.BooleanField(db_default=False)
    terms_seq = models.IntegerField(db_default=1, help_text="Sequence number of the event that last set the terms.")
    # No database constraint: checking it would lock one row of accounts for every order of that account.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
        help_text="The account that placed it; none for orders older than accounts.",
    )
    api_key = models.BigIntegerField(null=True, help_text="Id of the API key that placed it, if one did.")
    client_order_id = models.CharField(max_length=64, null=True)  # noqa: DJ001 - absent is not empty
    fingerprint = models.CharField(max_length=64, help_text="Hash of what was asked; tells a repeat from a conflict.")
    replay_of = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="replayed_as", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())

    status = models.CharField(max_length=10, choices=[(s, s) for s in Status], db_default=Status.PENDING)
    seq = models.IntegerField(db_default=1)
    epoch = models.IntegerField(db_default=0, help_text="Epoch of Redis in which its last event was made.")
    accepted_epoch = models.IntegerField(null=True, help_text="Epoch of its first event, which it keeps in later ones.")
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
    on_balance = models.BooleanField(
        db_default=False, help_text="Its account's balance counts it: what it sells is reserved while it is open."
    )

    class Meta:
        indexes = [
            models.Index(fields=["created_at"], name="orders_moving", condition=MOVING),
            models.Index(fields=["pair", "id"], name="orders_pair"),
            models.Index(fields=["owner", "id"], name="orders_of_owner"),
            models.Index(fields=["id"], name="orders_waiting", condition=WAITING),
            models.Index(fields=["pair", "id"], name="orders_waiting_by_pair", condition=WAITING),
            models.Index(fields=["owner"], name="orders_waiting_of_owner", condition=WAITING),
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
                fields=["client_order_id", "owner"],
                condition=Q(client_order_id__isnull=False),
                name="client_order_id_once",
                nulls_distinct=False,
                # The index then also serves prefix searches, whatever the collation of the database.
                opclasses=["varchar_pattern_ops", "int4_ops"],
            ),
            models.CheckConstraint(
                condition=Q(amount_out=None) | Q(type=OrderType.MARKET, amount_out__gt=0), name="exact_out_at_market"
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
