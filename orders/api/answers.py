"""What a client reads: the documented shape of every answer."""

# ruff: noqa: N815 - fields are spelled as clients read them

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from engine.lifecycle import Status
from engine.orders import TimeInForce
from orders.api.events import Events, GateSerializer, OfferSerializer
from orders.api.fields import LIST_SCHEMA

STATUSES = [(status.value, status.value) for status in Status]
READINESS = [("ready", "ready"), ("degraded", "degraded")]
LIVES = [(life.value, life.value) for life in TimeInForce]


class LinksSerializer(serializers.Serializer[Any]):
    """Where to go on from here."""

    self = serializers.URLField()
    events = serializers.URLField()
    ws = serializers.CharField(help_text="WebSocket that streams the order's events from the first.")


class AcceptedSerializer(serializers.Serializer[Any]):
    """An accepted order."""

    orderId = serializers.UUIDField()
    status = serializers.ChoiceField(choices=STATUSES)
    createdAt = serializers.DateTimeField()
    links = LinksSerializer()


class FieldErrorSerializer(serializers.Serializer[Any]):
    """What is wrong with one field."""

    field = serializers.CharField()
    value = serializers.CharField(allow_null=True)
    message = serializers.CharField()
    accepted = serializers.CharField()


class ErrorBodySerializer(serializers.Serializer[Any]):
    """What went wrong."""

    code = serializers.CharField()
    message = serializers.CharField()
    fields = FieldErrorSerializer(many=True)  # type: ignore[assignment]


class ErrorSerializer(serializers.Serializer[Any]):
    """Every error of this API."""

    error = ErrorBodySerializer()


class EventsSerializer(serializers.Serializer[Any]):
    """An order's events, oldest first."""

    orderId = serializers.UUIDField()
    events = Events()


class RestingSerializer(serializers.Serializer[Any]):
    """What an order that waits is waiting beside."""

    best = serializers.CharField(allow_null=True, help_text="BEST: the best price less fee that venues last quoted.")
    ageMs = serializers.IntegerField(allow_null=True, required=False, help_text="Its age; limit orders only.")
    awayBps = serializers.CharField(
        allow_null=True,
        required=False,
        help_text="How far BEST must still rise to the limit price, in bps of BEST; 0 once it is there.  "
        "Limit orders only.",
    )


@extend_schema_field({**LIST_SCHEMA, "type": ["array", "null"]})
class ConditionsField(serializers.ListField):
    """The conditions of a sniper order."""


class OrderSerializer(serializers.Serializer[Any]):
    """An order as it stands; a term that its type does not have is null."""

    orderId = serializers.UUIDField()
    clientOrderId = serializers.CharField(allow_null=True)
    type = serializers.CharField()
    pair = serializers.CharField()
    tokenIn = serializers.CharField()
    tokenOut = serializers.CharField()
    amount = serializers.CharField()
    slippageBps = serializers.IntegerField()
    limitPrice = serializers.CharField(allow_null=True)
    maxPrice = serializers.CharField(allow_null=True)
    timeInForce = serializers.ChoiceField(choices=LIVES, allow_null=True)
    expiresAt = serializers.DateTimeField(allow_null=True)
    trigger = ConditionsField(allow_null=True)
    allowUnknown = serializers.BooleanField(allow_null=True)
    status = serializers.ChoiceField(choices=STATUSES)
    seq = serializers.IntegerField()
    attempt = serializers.IntegerField()
    createdAt = serializers.DateTimeField()
    updatedAt = serializers.DateTimeField()
    venue = serializers.CharField(allow_null=True)
    txHash = serializers.CharField(allow_null=True)
    result = serializers.DictField(help_text="Facts of the last event.")
    replayOf = serializers.UUIDField(allow_null=True)
    resting = RestingSerializer(allow_null=True, help_text="Of an order that waits; null once it has fired or ended.")
    links = LinksSerializer()


class EstimatedFillSerializer(serializers.Serializer[Any]):
    """What an order would get this moment."""

    venue = serializers.CharField()
    reason = serializers.CharField(help_text="Why this venue.")
    price = serializers.CharField(help_text="The venue's price before its fee.")
    feeBps = serializers.IntegerField()
    fee = serializers.CharField(help_text="In tokenIn.")
    expectedPrice = serializers.CharField(
        help_text="What the fill comes to: tokenOut per tokenIn, fee and impact paid."
    )
    expectedOut = serializers.CharField()
    minimumOut = serializers.CharField(help_text="The least the order accepts: by its slippage, and by its own price.")
    impactBps = serializers.CharField(help_text="What the order's own size costs it, in bps.")
    ageMs = serializers.IntegerField(help_text="Age of the quote.")
    fresh = serializers.BooleanField(help_text="Whether the order would be routed on it at once.")
    quotes = OfferSerializer(many=True, help_text="What it was chosen from, the best first.")


class EstimatedLimitSerializer(serializers.Serializer[Any]):
    """Where a limit price is beside BEST."""

    limitPrice = serializers.CharField()
    best = serializers.CharField(allow_null=True)
    ageMs = serializers.IntegerField(allow_null=True)
    awayBps = serializers.CharField(allow_null=True, help_text="How far BEST must rise; 0 once it is there.")
    leastOut = serializers.CharField(help_text="The least the order pays out whenever it is filled.")


class ConditionSeenSerializer(serializers.Serializer[Any]):
    """A condition and what the market shows of it."""

    kind = serializers.CharField()
    atLeast = serializers.CharField(required=False)
    windowS = serializers.IntegerField(required=False)
    value = serializers.CharField()
    met = serializers.BooleanField()


class EstimatedSniperSerializer(serializers.Serializer[Any]):
    """What is known of the token a sniper order waits for."""

    listed = serializers.BooleanField(help_text="Whether the token is in the catalogue yet.")
    conditions = ConditionSeenSerializer(many=True)
    gates = GateSerializer(many=True)


class ProblemSerializer(serializers.Serializer[Any]):
    """What would keep an order from being filled."""

    code = serializers.CharField(help_text="no_quote, cannot_fill or price_impact")
    message = serializers.CharField()


class EstimateSerializer(serializers.Serializer[Any]):
    """What an order would get, were it placed now."""

    type = serializers.CharField()
    pair = serializers.CharField()
    tokenIn = serializers.CharField()
    tokenOut = serializers.CharField()
    amount = serializers.CharField()
    slippageBps = serializers.IntegerField()
    fill = EstimatedFillSerializer(allow_null=True)
    limit = EstimatedLimitSerializer(allow_null=True, help_text="Of a limit order.")
    sniper = EstimatedSniperSerializer(allow_null=True, help_text="Of a sniper order.")
    problem = ProblemSerializer(allow_null=True)


class OrdersSerializer(serializers.Serializer[Any]):
    """A page of orders, newest first."""

    next = serializers.URLField(allow_null=True, help_text="The page after this one; null on the last.")
    previous = serializers.URLField(allow_null=True)
    results = OrderSerializer(many=True)


class CancelledSerializer(serializers.Serializer[Any]):
    """What became of a pair's resting orders."""

    pair = serializers.CharField()
    cancelled = serializers.IntegerField(help_text="Orders this request cancelled.")
    lost = serializers.IntegerField(help_text="Orders that fired or ended before they could be cancelled.")
    complete = serializers.BooleanField(help_text="Whether all were reached; when not, ask again.")


class VerdictSerializer(serializers.Serializer[Any]):
    """What became of one order of a batch: `order` when its status is 202, else `error`."""

    status = serializers.IntegerField(help_text="What it would have been answered with alone: 202, 400 or 409.")
    order = AcceptedSerializer(required=False)
    error = ErrorBodySerializer(required=False)


class VerdictsSerializer(serializers.Serializer[Any]):
    """What became of a batch, order by order."""

    results = VerdictSerializer(many=True)
    accepted = serializers.IntegerField()
    refused = serializers.IntegerField()


class QuoteSerializer(serializers.Serializer[Any]):
    """A venue's last quote."""

    venue = serializers.CharField()
    price = serializers.CharField()
    feeBps = serializers.IntegerField()
    netPrice = serializers.CharField()
    observedAt = serializers.DateTimeField()
    ageMs = serializers.IntegerField()


class QuotesSerializer(serializers.Serializer[Any]):
    """What is known of a pair."""

    pair = serializers.CharField()
    best = QuoteSerializer(allow_null=True)
    fresh = serializers.BooleanField(help_text="Whether BEST is young enough to route on.")
    quotes = QuoteSerializer(many=True)


class TokenSerializer(serializers.Serializer[Any]):
    """A token."""

    symbol = serializers.CharField()
    mint = serializers.CharField()
    decimals = serializers.IntegerField()


class PairSerializer(serializers.Serializer[Any]):
    """A pair that is traded, in this direction."""

    pair = serializers.CharField()
    tokenIn = TokenSerializer()
    tokenOut = TokenSerializer()


class HealthSerializer(serializers.Serializer[Any]):
    """The process lives."""

    status = serializers.CharField()


class PartsSerializer(serializers.Serializer[Any]):
    """ "ok", or why a part is not well."""

    postgres = serializers.CharField(help_text="Without it no order can be accepted: 503.")
    redis = serializers.CharField(help_text="Likewise.")
    quotes = serializers.CharField(help_text="Whether every venue quotes; if not, orders may wait: degraded.")
    workers = serializers.CharField(help_text="Whether every queue has a living worker; if not: degraded.")


class ReadySerializer(serializers.Serializer[Any]):
    """The process can do its work; `degraded` when something that orders can wait for is missing."""

    status = serializers.ChoiceField(choices=READINESS)
    parts = PartsSerializer()


class NotReadySerializer(serializers.Serializer[Any]):
    """A store is away; the error names it."""

    error = ErrorBodySerializer()
    parts = PartsSerializer()
