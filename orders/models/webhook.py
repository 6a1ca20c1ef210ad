"""Webhooks: addresses that accounts have their orders' events sent to."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class WebhookState(models.TextChoices):
    """Whether events are sent."""

    ACTIVE = "active", "active"
    DISABLED = "disabled", "disabled"
    STOPPED = "stopped", "stopped by an operator"
    FAILED = "failed", "failed"


class Webhook(models.Model):
    """One webhook: see orders/stores/webhooks.py for how it is delivered.

    Its secrets follow from the ids kept here and the pepper, so the table alone signs nothing.
    """

    id = models.UUIDField(primary_key=True)
    # No database constraint, as for orders; who deletes an account in the admin deletes its webhooks.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    all_accounts = models.BooleanField(db_default=False, help_text="Whether it gets the events of every account.")
    url = models.CharField(max_length=500)
    state = models.CharField(max_length=8, choices=WebhookState, db_default=WebhookState.ACTIVE)
    secret_id = models.UUIDField()
    old_secret_id = models.UUIDField(null=True)
    old_secret_until = models.DateTimeField(null=True, help_text="Until then the old secret signs, too.")
    created_at = models.DateTimeField(db_default=Now())
    cursor = models.BigIntegerField(help_text="Position of the journal up to which everything is delivered.")
    replays = models.IntegerField(db_default=0, help_text="How often the cursor was set by hand.")
    lease = models.UUIDField(null=True, help_text="Of the process that delivers now.")
    leased_until = models.DateTimeField(null=True)
    next_at = models.DateTimeField(db_default=Now(), help_text="Not before then.")
    failures = models.IntegerField(db_default=0, help_text="In a row.")
    failing_since = models.DateTimeField(null=True)
    last_at = models.DateTimeField(null=True, help_text="When it was last called.")
    last_ms = models.IntegerField(db_default=0, help_text="How long that took.")
    last_status = models.IntegerField(null=True, help_text="HTTP status of the answer; none without an answer.")
    last_error = models.CharField(max_length=300, db_default="")

    def __str__(self) -> str:
        return str(self.id)
