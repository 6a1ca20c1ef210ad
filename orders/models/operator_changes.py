"""What operators change while the engine runs: pauses, halts, risk limits and incident notes."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Scope(models.TextChoices):
    """What an operator can pause."""

    EVERYTHING = "everything", "everything"
    PAIR = "pair", "pair"
    VENUE = "venue", "venue"
    USER = "user", "user"
    KEY = "key", "API key"


class PauseState(models.TextChoices):
    """How much a pause stops.

    `halted` is the kill switch: it also stops accepted orders that are not sent. `reducing` does the same to purchases,
    and nothing to sales for the quote token.
    """

    PAUSED = "paused", "paused"
    HALTED = "halted", "halted"
    REDUCING = "reducing", "reducing"


class Pause(models.Model):
    """An operator's pause or halt; the row is deleted on resume, and the admin's history keeps both actions."""

    scope = models.CharField(max_length=10, choices=Scope)
    name = models.CharField(
        max_length=150, blank=True, help_text="The pair, venue, user or key's prefix; empty for everything."
    )
    subject = models.BigIntegerField(null=True, help_text="Id of the user or key.")
    reason = models.CharField(max_length=200, help_text="Clients whose orders are refused read it.")
    by = models.CharField(max_length=150)
    created_at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=10, choices=PauseState, db_default=PauseState.PAUSED)
    cancels_resting = models.BooleanField(
        db_default=False, help_text="Of a halt: orders that rest, or come back to rest, are cancelled."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scope", "name"], condition=Q(subject=None), name="named_paused_once"),
            # Names change hands, ids do not.
            models.UniqueConstraint(fields=["scope", "subject"], name="subject_paused_once"),
        ]

    def __str__(self) -> str:
        prefix = f"{self.scope}:" if self.scope in (Scope.USER, Scope.KEY) else ""
        return f"{prefix}{self.name}" or str(self.scope)

    @property
    def done(self) -> str:
        """What was done to it, as after "had"."""
        return "reduced" if self.state == PauseState.REDUCING else str(self.state)


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


class IncidentNote(models.Model):
    """An operator's word that a part or an alert is being looked after; it holds until a time, or until it is ended."""

    subject = models.CharField(max_length=60, unique=True, help_text="A part of the dashboard's strip, or an alert.")
    note = models.CharField(max_length=200, help_text="What is known, and what is done about it.")
    by = models.CharField(max_length=150)
    noted_at = models.DateTimeField(db_default=Now())
    until = models.DateTimeField()

    class Meta:
        # It has no table of its own.
        permissions = [("restart_role", "Can restart a role")]

    def __str__(self) -> str:
        return self.subject
