"""Which tokens and pairs are traded, and what the sandbox chain executed."""

from django.core.validators import MaxValueValidator
from django.db import models

MINT_MAX = 44
"""Base58 characters of a 32-byte public key, at most."""

DECIMALS_MAX = 12
"""Mints in use have 0 to 9; a Q64.64 price needs the two tokens of a pair not too far apart."""


class Token(models.Model):
    """A token by its mint."""

    mint = models.CharField(max_length=MINT_MAX, primary_key=True)
    symbol = models.CharField(max_length=16, unique=True)
    decimals = models.PositiveSmallIntegerField(validators=[MaxValueValidator(DECIMALS_MAX)])

    class Meta:
        ordering = ["symbol"]
        constraints = [
            models.CheckConstraint(condition=models.Q(decimals__lte=DECIMALS_MAX), name="token_decimals_in_range"),
        ]

    def __str__(self) -> str:
        return self.symbol


class Pair(models.Model):
    """A directed pair: `token_in` may be sold for `token_out` while `active`."""

    token_in = models.ForeignKey(Token, models.PROTECT, related_name="sold_in")
    token_out = models.ForeignKey(Token, models.PROTECT, related_name="bought_in")
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["token_in__symbol", "token_out__symbol"]
        constraints = [
            models.UniqueConstraint(fields=["token_in", "token_out"], name="pair_once_per_direction"),
            models.CheckConstraint(condition=~models.Q(token_in=models.F("token_out")), name="pair_of_two_tokens"),
        ]

    def __str__(self) -> str:
        return f"{self.token_in}-{self.token_out}"


class LedgerEntry(models.Model):
    """One transaction the sandbox chain executed, known by its signature alone, as a chain knows it.

    It is unknown to everybody until `lands_at`.  Amounts in base units, the fee in lamports.
    """

    # Collation C: signatures are compared for equality only, and bytes compare faster than language.
    signature = models.CharField(max_length=88, primary_key=True, db_collation="C")
    slot = models.BigIntegerField()
    lands_at = models.DateTimeField()
    landing = models.CharField(max_length=8, choices=[("landed", "landed"), ("rejected", "rejected")])
    # Numeric because an u64 does not fit a bigint.
    amount_out = models.DecimalField(max_digits=20, decimal_places=0, default=0)
    fee_lamports = models.BigIntegerField()
    error_code = models.CharField(max_length=64, blank=True, default="")
    error = models.TextField(blank=True, default="")

    class Meta:
        verbose_name_plural = "ledger entries"

    def __str__(self) -> str:
        return f"{self.signature} {self.landing}"
