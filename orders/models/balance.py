"""Balances: what each account has of each token."""

from django.db import models
from django.db.models import F, Q


class Balance(models.Model):
    """What an account has of a token, in base units: see orders/stores/balances.py.

    The row is made when the account first uses the token, and stays.
    """

    pk = models.CompositePrimaryKey("owner_id", "token")
    # No foreign key: checking it would lock one row of accounts for every order of that account.
    owner_id = models.IntegerField()
    token = models.CharField(max_length=44, db_collation="C", help_text="Its symbol; its mint while it has none.")
    opening = models.DecimalField(
        max_digits=30, decimal_places=0, help_text="What it began with, and what orders in the archive have changed."
    )
    total = models.DecimalField(max_digits=30, decimal_places=0)
    reserved = models.DecimalField(max_digits=30, decimal_places=0, db_default=0, help_text="For open orders.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(reserved__gte=0) & Q(reserved__lte=F("total")), name="balance_covers_orders"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.token} of {self.owner_id}"
