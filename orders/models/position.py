"""Positions: what each account holds of each token by its fills, what it cost, and what was made of the rest."""

from django.db import models


class Position(models.Model):
    """An account's fills in one market, in base units of its two tokens: see orders/stores/positions.py.

    The row is made with the first fill, and stays.
    """

    pk = models.CompositePrimaryKey("owner_id", "base", "quote")
    # No foreign key, for the same reason as in Balance.
    owner_id = models.IntegerField()
    base = models.CharField(max_length=44, db_collation="C", help_text="The token that is held.")
    quote = models.CharField(max_length=44, db_collation="C", help_text="The token that it is priced in.")
    step = models.IntegerField(db_default=0, help_text="How many times fills were counted; see Attempt.position_step.")
    held = models.DecimalField(max_digits=30, decimal_places=0, help_text="Bought and not sold yet.")
    cost = models.DecimalField(max_digits=30, decimal_places=0, help_text="What was paid for it.")
    realised = models.DecimalField(max_digits=30, decimal_places=0, help_text="Proceeds of sales less their cost.")
    uncosted = models.DecimalField(max_digits=30, decimal_places=0, help_text="Sold beyond what was bought.")
    bought = models.DecimalField(max_digits=30, decimal_places=0, help_text="In all.")
    spent = models.DecimalField(max_digits=30, decimal_places=0, help_text="On that.")
    sold = models.DecimalField(max_digits=30, decimal_places=0, help_text="In all.")
    received = models.DecimalField(max_digits=30, decimal_places=0, help_text="For that.")
    fees = models.DecimalField(max_digits=30, decimal_places=0, help_text="Of the venues, in the quote token.")
    shortfall = models.DecimalField(max_digits=30, decimal_places=0, help_text="Against what was quoted; a cost.")
    quoted = models.DecimalField(max_digits=30, decimal_places=0, help_text="The value of all fills as quoted.")

    def __str__(self) -> str:
        return f"{self.base}-{self.quote} of {self.owner_id}"
