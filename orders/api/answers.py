"""What a client reads: the documented shape of every answer."""

# ruff: noqa: N815 - fields are spelled as clients read them

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from engine.orders import SLIPPAGE_MAX_BPS
from engine.triggers import WINDOW_MAX_S, Kind
from orders.api.errors import SHOWN_MAX
from orders.api.events import Events, GateSerializer, OfferSerializer
from orders.api.fields import LIST_SCHEMA
from orders.api.words import (
    FAILURES,
    LIVES,
    PROBLEMS,
    READINESS,
    STATUSES,
    TYPES,
    VENUE_NAMES,
    ClientOrderId,
    Decimals,
    Mint,
    PairName,
    Signature,
    SocketURL,
    TokenName,
    choices,
)


class LinksSerializer(serializers.Serializer[Any]):
    """Where to go on from here."""

    self = serializers.URLField()
    events = serializers.URLField()
    ws = SocketURL(help_text="WebSocket that streams the order's events from the first.")


class AcceptedSerializer(serializers.Serializer[Any]):
    """An accepted order."""

    orderId = serializers.UUIDField()
    status = serializers.ChoiceField(choices=STATUSES)
    createdAt = serializers.DateTimeField()
    links = LinksSerializer()


class FieldErrorSerializer(serializers.Serializer[Any]):
    """What is wrong with one field."""

    field = serializers.CharField(max_length=SHOWN_MAX)
    value = serializers.CharField(allow_null=True, max_length=SHOWN_MAX)
    message = serializers.CharField(min_length=1)
    accepted = serializers.CharField(min_length=1)


class ErrorBodySerializer(serializers.Serializer[Any]):
    """What went wrong."""

    code = serializers.ChoiceField(choices=FAILURES)
    message = serializers.CharField(min_length=1)
    fields = FieldErrorSerializer(many=True)  # type: ignore[assignment]


class ErrorSerializer(serializers.Serializer[Any]):
    """Every error of this API."""

    error = ErrorBodySerializer()


class EventsSerializer(serializers.Serializer[Any]):
    """An order's events, oldest first."""

    orderId = serializers.UUIDField()
    rewoundTo = serializers.IntegerField(
        min_value=1, allow_null=True, help_text="Events past it that were seen belong to the order no longer."
    )
    events = Events()


class RestingSerializer(serializers.Serializer[Any]):
    """What an order that waits is waiting beside."""

    best = Decimals(allow_null=True, help_text="BEST: the best price less fee that venues last quoted.")
    ageMs = serializers.IntegerField(
        min_value=0, allow_null=True, required=False, help_text="Its age; limit orders only."
    )
    awayBps = Decimals(
        allow_null=True,
        required=False,
        help_text="How far BEST must still rise to the limit price, in bps of BEST; 0 once it is there.  "
        "Limit orders only.",
    )


@extend_schema_field(LIST_SCHEMA)
class ConditionsField(serializers.ListField):
    """The conditions of a sniper order."""


class OrderSerializer(serializers.Serializer[Any]):
    """An order as it stands; a term that its type does not have is null."""

    orderId = serializers.UUIDField()
    clientOrderId = ClientOrderId(allow_null=True)
    type = serializers.ChoiceField(choices=TYPES)
    pair = PairName()
    tokenIn = TokenName()
    tokenOut = TokenName()
    amount = Decimals()
    slippageBps = serializers.IntegerField(min_value=0, max_value=SLIPPAGE_MAX_BPS)
    deadline = serializers.DateTimeField(allow_null=True, help_text="Of a market order: by when it must be tried.")
    limitPrice = Decimals(allow_null=True)
    maxPrice = Decimals(allow_null=True)
    timeInForce = serializers.ChoiceField(choices=LIVES, allow_null=True)
    expiresAt = serializers.DateTimeField(allow_null=True)
    trigger = ConditionsField(allow_null=True)
    allowUnknown = serializers.BooleanField(allow_null=True)
    status = serializers.ChoiceField(choices=STATUSES)
    seq = serializers.IntegerField(min_value=1)
    epoch = serializers.IntegerField(min_value=0)
    attempt = serializers.IntegerField(min_value=0)
    createdAt = serializers.DateTimeField()
    updatedAt = serializers.DateTimeField()
    venue = serializers.ChoiceField(choices=VENUE_NAMES, allow_null=True)
    txHash = Signature(allow_null=True)
    result = serializers.DictField(help_text="Facts of the last event.")
    replayOf = serializers.UUIDField(allow_null=True)
    resting = RestingSerializer(allow_null=True, help_text="Of an order that waits; null once it has fired or ended.")
    links = LinksSerializer()


class EstimatedFillSerializer(serializers.Serializer[Any]):
    """What an order would get this moment."""

    venue = serializers.ChoiceField(choices=VENUE_NAMES)
    reason = serializers.CharField(help_text="Why this venue.")
    price = Decimals(help_text="The venue's price before its fee.")
    feeBps = serializers.IntegerField(min_value=0)
    fee = Decimals(help_text="In tokenIn.")
    expectedPrice = Decimals(help_text="What the fill comes to: tokenOut per tokenIn, fee and impact paid.")
    expectedOut = Decimals()
    minimumOut = Decimals(help_text="The least the order accepts: by its slippage, and by its own price.")
    impactBps = Decimals(help_text="What the order's own size costs it, in bps.")
    ageMs = serializers.IntegerField(min_value=0, help_text="Age of the quote.")
    fresh = serializers.BooleanField(help_text="Whether the order would be routed on it at once.")
    quotes = OfferSerializer(many=True, help_text="What it was chosen from, the best first.")


class EstimatedLimitSerializer(serializers.Serializer[Any]):
    """Where a limit price is beside BEST."""

    limitPrice = Decimals()
    best = Decimals(allow_null=True)
    ageMs = serializers.IntegerField(min_value=0, allow_null=True)
    awayBps = Decimals(allow_null=True, help_text="How far BEST must rise; 0 once it is there.")
    leastOut = Decimals(help_text="The least the order pays out whenever it is filled.")


class ConditionSeenSerializer(serializers.Serializer[Any]):
    """A condition and what the market shows of it."""

    kind = serializers.ChoiceField(choices=choices(Kind))
    atLeast = Decimals(required=False)
    windowS = serializers.IntegerField(min_value=1, max_value=WINDOW_MAX_S, required=False)
    value = serializers.CharField()
    met = serializers.BooleanField()


class EstimatedSniperSerializer(serializers.Serializer[Any]):
    """What is known of the token a sniper order waits for."""

    listed = serializers.BooleanField(help_text="Whether the token is in the catalogue yet.")
    conditions = ConditionSeenSerializer(many=True)
    gates = GateSerializer(many=True)


class ProblemSerializer(serializers.Serializer[Any]):
    """What would keep an order from being filled."""

    code = serializers.ChoiceField(choices=choices(PROBLEMS))
    message = serializers.CharField()


class EstimateSerializer(serializers.Serializer[Any]):
    """What an order would get, were it placed now."""

    type = serializers.ChoiceField(choices=TYPES)
    pair = PairName()
    tokenIn = TokenName()
    tokenOut = TokenName()
    amount = Decimals()
    slippageBps = serializers.IntegerField(min_value=0, max_value=SLIPPAGE_MAX_BPS)
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

    pair = PairName()
    cancelled = serializers.IntegerField(min_value=0, help_text="Orders this request cancelled.")
    lost = serializers.IntegerField(min_value=0, help_text="Orders that fired or ended before they could be cancelled.")
    complete = serializers.BooleanField(help_text="Whether all were reached; when not, ask again.")


@extend_schema_field({"type": "integer", "enum": [202, 400, 409, 503]})
class VerdictStatus(serializers.IntegerField):
    """The status of one order of a batch."""


class VerdictSerializer(serializers.Serializer[Any]):
    """What became of one order of a batch: `order` when its status is 202, else `error`."""

    status = VerdictStatus(help_text="What it would have been answered with alone.")
    order = AcceptedSerializer(required=False)
    error = ErrorBodySerializer(required=False)


class VerdictsSerializer(serializers.Serializer[Any]):
    """What became of a batch, order by order."""

    results = VerdictSerializer(many=True)
    accepted = serializers.IntegerField(min_value=0)
    refused = serializers.IntegerField(min_value=0)


class QuoteSerializer(serializers.Serializer[Any]):
    """A venue's last quote."""

    venue = serializers.ChoiceField(choices=VENUE_NAMES)
    price = Decimals()
    feeBps = serializers.IntegerField(min_value=0)
    netPrice = Decimals()
    observedAt = serializers.DateTimeField()
    ageMs = serializers.IntegerField(min_value=0)


class QuotesSerializer(serializers.Serializer[Any]):
    """What is known of a pair."""

    pair = PairName()
    best = QuoteSerializer(allow_null=True)
    fresh = serializers.BooleanField(help_text="Whether BEST is young enough to route on.")
    quotes = QuoteSerializer(many=True)


class TokenSerializer(serializers.Serializer[Any]):
    """A token."""

    symbol = TokenName()
    mint = Mint()
    decimals = serializers.IntegerField(min_value=0)


class PairSerializer(serializers.Serializer[Any]):
    """A pair that is traded, in this direction."""

    pair = PairName()
    tokenIn = TokenSerializer()
    tokenOut = TokenSerializer()
    tick = Decimals(help_text="What limit prices of this pair are multiples of.")


class HealthSerializer(serializers.Serializer[Any]):
    """The process lives."""

    status = serializers.ChoiceField(choices=choices(["ok"]))


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
    """A store is away; the error names it.  `parts` is absent when there was no time to try them."""

    error = ErrorBodySerializer()
    parts = PartsSerializer(required=False)
