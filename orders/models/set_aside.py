"""Records that DBSync could not write."""

from django.db import models
from django.db.models.functions import Now


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
