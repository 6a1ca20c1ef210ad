"""Tables of traded tokens and pairs, market data, the sandbox chain's ledger, and the epochs of Redis."""

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now

from engine.quotes import TICK_DEFAULT

MINT_MAX = 44
"""Maximum base58 characters of a 32-byte public key."""

SYMBOL_MAX = 16
PAIR_MAX = SYMBOL_MAX + 1 + MINT_MAX

PRICE_WIDTH, PRICE_SCALE = 54, 30
"""Digits of a price, and of its decimals: those by which the quote cache ranks prices, of at most PRICE_MAX."""

DECIMALS_MAX = 12
"""Mints in use have 0 to 9; a Q64.64 price needs the decimals of a pair's two tokens to be close enough."""


TICK_MIN = Decimal("1e-18")


class Token(models.Model):
    """A token, identified by its mint."""

    mint = models.CharField(max_length=MINT_MAX, primary_key=True)
    symbol = models.CharField(max_length=SYMBOL_MAX, unique=True)
    decimals = models.PositiveSmallIntegerField(validators=[MaxValueValidator(DECIMALS_MAX)])
    # Facts for the token checks of sniper orders; null is unknown.
    mint_authority = models.CharField(  # noqa: DJ001 - unknown is not empty
        max_length=MINT_MAX, null=True, blank=True, help_text="Who may mint more; empty when nobody can, null: unknown."
    )
    freeze_authority = models.CharField(  # noqa: DJ001
        max_length=MINT_MAX, null=True, blank=True, help_text="Who may freeze holdings; empty when nobody can."
    )
    top_holder_bps = models.PositiveIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(10_000)], help_text="The largest holder's share, in bps."
    )
    facts_at = models.DateTimeField(
        db_default=Now(), help_text="When authorities and top holder were last looked up; facts do not stay true."
    )

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
    tick = models.DecimalField(
        max_digits=30,
        decimal_places=18,
        default=TICK_DEFAULT,
        validators=[MinValueValidator(TICK_MIN)],
        help_text="A limit price is a whole number of these: tokens out per token in.",
    )

    class Meta:
        ordering = ["token_in__symbol", "token_out__symbol"]
        constraints = [
            models.UniqueConstraint(fields=["token_in", "token_out"], name="pair_once_per_direction"),
            models.CheckConstraint(condition=~models.Q(token_in=models.F("token_out")), name="pair_of_two_tokens"),
            models.CheckConstraint(condition=models.Q(tick__gt=0), name="pair_tick_above_zero"),
        ]

    def __str__(self) -> str:
        return f"{self.token_in}-{self.token_out}"


class LedgerEntry(models.Model):
    """One transaction that the sandbox chain executed, identified only by its signature, as on a real chain.

    Lookups do not find it before `lands_at`.  Amounts are in base units, the fee in lamports.
    """

    # Collation C: signatures are compared for equality only, and byte comparison is faster than a language collation.
    signature = models.CharField(max_length=88, primary_key=True, db_collation="C")
    slot = models.BigIntegerField()
    lands_at = models.DateTimeField()
    landing = models.CharField(max_length=8, choices=[("landed", "landed"), ("rejected", "rejected")])
    # Numeric because a u64 does not fit a bigint.
    amount_out = models.DecimalField(max_digits=20, decimal_places=0, default=0)
    fee_lamports = models.BigIntegerField()
    error_code = models.CharField(max_length=64, blank=True, default="")
    error = models.TextField(blank=True, default="")
    # Public data of the transaction, as a chain explorer shows it; empty for entries of earlier versions.
    memo = models.CharField(max_length=64, blank=True, db_default="")
    venue = models.CharField(max_length=16, blank=True, db_default="")
    amount_in = models.DecimalField(max_digits=20, decimal_places=0, null=True)
    minimum_out = models.DecimalField(max_digits=20, decimal_places=0, null=True)
    maximum_in = models.DecimalField(
        max_digits=20, decimal_places=0, null=True, help_text="Of a swap that pays exactly `minimum_out`."
    )

    class Meta:
        verbose_name_plural = "ledger entries"

    def __str__(self) -> str:
        return f"{self.signature} {self.landing}"


class TokenMarket(models.Model):
    """A token's last known market data, from which Redis is restored after a loss.  `liquidity` is in US cents."""

    mint = models.CharField(max_length=MINT_MAX, primary_key=True)
    pools = models.PositiveIntegerField()
    liquidity = models.BigIntegerField(null=True)
    observed_at = models.DateTimeField(help_text="When the newest of what it rests on happened.")

    def __str__(self) -> str:
        return self.mint


class Candle(models.Model):
    """The prices less fee of one pair at one venue, or of BEST, in an interval of 1 or 60 seconds.

    `opened_ms` and `closed_ms` are when its first and last quote were observed, in ms since `at`.
    """

    pk = models.CompositePrimaryKey("pair", "venue", "seconds", "at")
    pair = models.CharField(max_length=PAIR_MAX, db_collation="C")
    venue = models.CharField(max_length=16, db_collation="C")
    seconds = models.PositiveSmallIntegerField()
    at = models.DateTimeField(help_text="When the interval begins.")
    open = models.DecimalField(max_digits=PRICE_WIDTH, decimal_places=PRICE_SCALE)
    high = models.DecimalField(max_digits=PRICE_WIDTH, decimal_places=PRICE_SCALE)
    low = models.DecimalField(max_digits=PRICE_WIDTH, decimal_places=PRICE_SCALE)
    close = models.DecimalField(max_digits=PRICE_WIDTH, decimal_places=PRICE_SCALE)
    quotes = models.PositiveIntegerField()
    opened_ms = models.PositiveIntegerField()
    closed_ms = models.PositiveIntegerField()

    class Meta:
        indexes = [models.Index("seconds", "at", name="candle_by_time")]

    def __str__(self) -> str:
        return f"{self.pair} {self.venue} {self.at} {self.seconds} s"


class StoreEpoch(models.Model):
    """One epoch: a period in which Redis lost no data; a new one begins after it was emptied or restarted."""

    run = models.CharField(max_length=64, help_text="The run id of the Redis server it began on.")
    reason = models.CharField(max_length=200)
    began_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.pk}: {self.reason}"
