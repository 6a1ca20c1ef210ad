"""Trading limits: how much may be traded, by whom and of what; and what of the daily ones is used."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class LimitScope(models.TextChoices):
    """Whose or which orders a trading limit covers."""

    EVERYTHING = "everything", "everything"
    USER = "user", "user"
    KEY = "key", "API key"
    PAIR = "pair", "pair"
    TOKEN = "token", "token"


class LimitKind(models.TextChoices):
    """What a trading limit bounds."""

    ORDER_VALUE = "order-value", "value of one order, USD"
    DAY_VALUE = "day-value", "value of a day's orders (UTC), USD"
    SLIPPAGE = "slippage", "slippage of an order, bps"
    IMPACT = "impact", "price impact of an order, bps"
    REPEAT = "repeat", "time before the same order may be repeated, s"
    TOKENS = "tokens", "tokens that may be traded"
    VENUES = "venues", "venues that may be traded at"


class TradingLimit(models.Model):
    """One limit; the row is deleted when it ends, and the audit log keeps both changes."""

    scope = models.CharField(max_length=10, choices=LimitScope)
    name = models.CharField(max_length=150, blank=True, help_text="The user, key, pair or token; empty for everything.")
    subject = models.BigIntegerField(null=True, help_text="Id of the user or key.")
    kind = models.CharField(max_length=12, choices=LimitKind)
    value = models.BigIntegerField(default=0, help_text="In the unit of its kind.")
    allowed = models.JSONField(default=list, help_text="Of tokens and venues: the names that are allowed.")
    reason = models.CharField(max_length=200)
    by = models.CharField(max_length=150)
    set_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "name", "kind"], condition=Q(subject=None), name="named_limit_once"
            ),
            # Names change hands, ids do not.
            models.UniqueConstraint(fields=["scope", "subject", "kind"], name="subject_limit_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.name or self.scope}"

    @property
    def terms(self) -> str:
        """What it allows."""
        return ", ".join(self.allowed) or f"{self.value:,}"


class TradingLimitUse(models.Model):
    """How much of a daily limit the orders of one day (UTC) use; whoever admits orders under it locks this row."""

    pk = models.CompositePrimaryKey("limit_id", "day")
    # No constraint: a limit is deleted without waiting for the orders it counts.
    limit = models.ForeignKey(TradingLimit, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    day = models.DateField()
    used = models.DecimalField(max_digits=30, decimal_places=2, db_default=0)

    def __str__(self) -> str:
        return f"{self.used} on {self.day}"


class TradingLimitHold(models.Model):
    """What one order uses of one daily limit, until it ends without a fill."""

    pk = models.CompositePrimaryKey("order_id", "limit_id", "day")
    order = models.ForeignKey("Order", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    limit = models.ForeignKey(TradingLimit, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    day = models.DateField()
    value = models.DecimalField(max_digits=30, decimal_places=2)

    class Meta:
        indexes = [models.Index(fields=["day"], name="trading_limit_hold_day")]

    def __str__(self) -> str:
        return f"{self.value} of {self.order_id} on {self.day}"
