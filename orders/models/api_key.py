"""API keys."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class ApiKey(models.Model):
    """A key for programs; the secret itself is shown once, when it is made, and kept nowhere."""

    name = models.CharField(max_length=80, help_text="Who or what uses it.")
    prefix = models.CharField(max_length=16, unique=True, editable=False, help_text="The readable part of the key.")
    digest = models.BinaryField(max_length=32, unique=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="api_keys",
        help_text="The account whose orders it places and sees.",
    )
    scopes = models.JSONField(help_text="What it may do: read, trade, cancel, admin.")
    orders_per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="Orders it may place per minute.")
    open_orders_max = models.PositiveIntegerField(
        null=True, blank=True, help_text="Orders of its owner that may rest when it places another."
    )
    cancels_on_disconnect = models.BooleanField(
        db_default=False,
        help_text="Cancel what rests and was placed with it when the last of its WebSockets is gone.",
    )
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False, help_text="To the minute.")

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"
