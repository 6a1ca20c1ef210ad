"""The documented shape of each kind of event, for the address that lists them and the sockets that stream them."""

# ruff: noqa: N815 - fields are spelled as clients read them

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from engine.events import AMENDABLE
from engine.lifecycle import Status
from orders.api.fields import LIST_SCHEMA
from orders.api.words import LIVES, TYPES, VENUE_NAMES, Decimals, PairName, Signature

TEXT_OR_NULL = {"type": ["string", "null"]}
CHANGES = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"enum": list(AMENDABLE)},
    "additionalProperties": {
        "type": "object",
        "required": ["from", "to"],
        "properties": {"from": TEXT_OR_NULL, "to": TEXT_OR_NULL},
        "additionalProperties": False,
    },
}


class Only(serializers.CharField):
    """One word, and no other."""

    def __init__(self, word: str, **options: Any) -> None:
        super().__init__(**options)
        self.word = str(word)


class OnlyInSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Describes it."""

    target_class = Only

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return its schema."""
        return {"type": "string", "const": self.target.word}


@extend_schema_field(CHANGES)
class Changes(serializers.DictField):
    """What was changed, from what to what."""


@extend_schema_field(LIST_SCHEMA)
class Conditions(serializers.ListField):
    """What a sniper order waits for."""


class EventBase(serializers.Serializer[Any]):
    """What every event has; newer engines may state more."""

    is_open = True

    orderId = serializers.UUIDField()
    epoch = serializers.IntegerField(min_value=0, help_text="Grows when Redis was lost; never falls with seq.")
    seq = serializers.IntegerField(min_value=1, help_text="1, 2, 3 ... without gaps.")
    at = serializers.DateTimeField()
    attempt = serializers.IntegerField(min_value=0, help_text="0 until the first try.")


class PendingEventSerializer(EventBase):
    """The order was accepted: what was asked."""

    status = Only(Status.PENDING)
    type = serializers.ChoiceField(choices=TYPES)
    pair = PairName()
    amountIn = Decimals(help_text="tokenIn to sell, in whole tokens.")
    slippageBps = serializers.IntegerField(min_value=0)
    deadline = serializers.DateTimeField(
        required=False, help_text="Of a market order: how long it waits while venues, the chain or a store are away."
    )
    limitPrice = Decimals(required=False, help_text="Of a limit order: the least tokenOut per tokenIn.")
    maxPrice = Decimals(required=False, help_text="Of a sniper order: the most tokenIn per tokenOut.")
    timeInForce = serializers.ChoiceField(choices=LIVES, required=False)
    expiresAt = serializers.DateTimeField(required=False)
    trigger = Conditions(required=False, help_text="Of a sniper order.")
    allowUnknown = serializers.BooleanField(required=False)


class AmendedEventSerializer(EventBase):
    """A resting order was changed."""

    status = Only(Status.PENDING)
    amended = Changes(help_text="Each term that changed, from what to what.")


class WaitSerializer(serializers.Serializer[Any]):
    """What went wrong, and how long until the next try."""

    code = serializers.CharField()
    message = serializers.CharField()
    inMs = serializers.IntegerField(min_value=0)


class ReturnedEventSerializer(EventBase):
    """An order that had fired rests again."""

    status = Only(Status.PENDING)
    returned = WaitSerializer(help_text="Why, and for how long it cannot fire.")


class PriceSeenSerializer(serializers.Serializer[Any]):
    """The price that reached the limit."""

    kind = Only("price")
    venue = serializers.ChoiceField(choices=VENUE_NAMES)
    price = Decimals(help_text="BEST: the price less the venue's fee.")
    limitPrice = Decimals()
    observedAt = serializers.DateTimeField()
    ageMs = serializers.IntegerField(min_value=0)
    polls = serializers.IntegerField(min_value=1, help_text="For how many polls it had held.")


class MarketEventSerializer(serializers.Serializer[Any]):
    """What happened to the token."""

    id = serializers.CharField()
    kind = serializers.CharField()
    venue = serializers.CharField(allow_blank=True)
    usd = Decimals()
    at = serializers.DateTimeField()
    ageMs = serializers.IntegerField(min_value=0)


class ConditionMetSerializer(serializers.Serializer[Any]):
    """A condition, and what the market had of it."""

    kind = serializers.CharField()
    atLeast = Decimals(required=False)
    windowS = serializers.IntegerField(required=False)
    value = serializers.CharField()


class MarketSeenSerializer(serializers.Serializer[Any]):
    """The market event that completed the conditions; null when they held as the order was armed."""

    kind = Only("market")
    event = MarketEventSerializer(allow_null=True)
    conditions = ConditionMetSerializer(many=True)


@extend_schema_field(
    PolymorphicProxySerializer(
        component_name="Evidence",
        serializers=[PriceSeenSerializer, MarketSeenSerializer],
        resource_type_field_name=None,
    )
)
class Evidence(serializers.DictField):
    """On what an order fired."""


class GateSerializer(serializers.Serializer[Any]):
    """How a gate judged the token."""

    gate = serializers.CharField()
    value = serializers.CharField(allow_null=True)
    source = serializers.CharField()  # type: ignore[assignment]
    verdict = serializers.ChoiceField(choices=[("pass", "pass"), ("refuse", "refuse")])
    reason = serializers.CharField()


class TriggeredEventSerializer(EventBase):
    """A waiting order fired."""

    status = Only(Status.TRIGGERED)
    trigger = Evidence(help_text="The price, or the market event with each condition.")
    gates = GateSerializer(many=True, required=False, help_text="Of a sniper order.")


class OfferSerializer(serializers.Serializer[Any]):
    """A venue's quote as it stood when it was used."""

    venue = serializers.ChoiceField(choices=VENUE_NAMES)
    price = Decimals()
    feeBps = serializers.IntegerField()
    netPrice = Decimals(help_text="The price less the fee.")
    ageMs = serializers.IntegerField(min_value=0)
    amountOut = Decimals(help_text="What it pays for this amount, after fee and impact.")


class RoutingEventSerializer(EventBase):
    """A venue was chosen."""

    status = Only(Status.ROUTING)
    venue = serializers.ChoiceField(choices=VENUE_NAMES)
    reason = serializers.CharField(help_text="Why this one.")
    source = serializers.CharField(help_text="Where the quotes came from.")  # type: ignore[assignment]
    quotes = OfferSerializer(many=True, help_text="What it was chosen from, the best first.")
    missing = serializers.ListField(child=serializers.CharField(), help_text="Venues that had nothing usable.")


class RetryEventSerializer(EventBase):
    """A try failed, and another comes."""

    status = Only(Status.ROUTING)
    retry = WaitSerializer(help_text="What went wrong, and when the next try comes.")


class BuildingEventSerializer(EventBase):
    """The transaction is being built."""

    status = Only(Status.BUILDING)
    venue = serializers.ChoiceField(choices=VENUE_NAMES)
    expectedOut = Decimals()
    minimumOut = Decimals(help_text="The least the order accepts.")
    quotedPrice = Decimals()


class SubmittedEventSerializer(EventBase):
    """The transaction is on its way."""

    status = Only(Status.SUBMITTED)
    venue = serializers.ChoiceField(choices=VENUE_NAMES)
    txHash = Signature()
    lastValidBlockHeight = serializers.IntegerField(help_text="The block height up to which it can land.")


class FeesSerializer(serializers.Serializer[Any]):
    """What a fill cost."""

    venueFeeBps = serializers.IntegerField()
    venueFee = Decimals()
    venueFeeToken = serializers.CharField()
    networkFeeLamports = serializers.IntegerField()


class ConfirmedEventSerializer(EventBase):
    """The order is filled; the last event."""

    status = Only(Status.CONFIRMED)
    venue = serializers.ChoiceField(choices=VENUE_NAMES)
    txHash = Signature()
    slot = serializers.IntegerField()
    amountIn = Decimals()
    amountOut = Decimals()
    executedPrice = Decimals(help_text="tokenOut per tokenIn.")
    slippageBps = Decimals(help_text="Against the quote; below 0: better than quoted.")
    fees = FeesSerializer()


class FailedEventSerializer(EventBase):
    """The order failed for good; the last event."""

    status = Only(Status.FAILED)
    code = serializers.CharField()
    message = serializers.CharField()
    replayMayHelp = serializers.BooleanField()


class CancelledEventSerializer(EventBase):
    """The order was cancelled; the last event."""

    status = Only(Status.CANCELLED)
    reason = serializers.CharField()


class ExpiredEventSerializer(EventBase):
    """The order's time has passed; the last event."""

    status = Only(Status.EXPIRED)
    reason = serializers.CharField()
    expiresAt = serializers.DateTimeField()


KINDS: dict[str, type[EventBase]] = {
    "pending": PendingEventSerializer,
    "amended": AmendedEventSerializer,
    "returned": ReturnedEventSerializer,
    "triggered": TriggeredEventSerializer,
    "routing": RoutingEventSerializer,
    "retry": RetryEventSerializer,
    "building": BuildingEventSerializer,
    "submitted": SubmittedEventSerializer,
    "confirmed": ConfirmedEventSerializer,
    "failed": FailedEventSerializer,
    "cancelled": CancelledEventSerializer,
    "expired": ExpiredEventSerializer,
}
"""Every kind of event, by the fact that tells it from others of its status, else by the status."""


@extend_schema_field(
    PolymorphicProxySerializer(
        component_name="Event", serializers=list(KINDS.values()), resource_type_field_name=None, many=True
    )
)
class Events(serializers.ListField):
    """Events of any kind."""
