"""The documented shape of the messages that only the sockets use: a pair's market, and orders to follow."""

# ruff: noqa: N815 - fields are spelled as clients read them

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from orders.api.events import Only
from orders.api.words import VENUE_NAMES, Decimals, PairName
from orders.sockets.feeds import ASKED_MAX, SEQ_MAX

TEXT_OR_NULL = {"type": ["string", "null"]}
POINTS = {
    "type": "array",
    "items": {"type": "array", "items": {"type": ["integer", "string", "null"]}, "minItems": 2},
}
FOLLOW = {
    "type": "array",
    "maxItems": ASKED_MAX,
    "items": {
        "type": "object",
        "required": ["orderId"],
        "properties": {
            "orderId": {"type": "string", "format": "uuid"},
            "after": {"type": "integer", "minimum": 0, "maximum": SEQ_MAX, "default": 0},
            "epoch": {"type": ["integer", "null"], "minimum": 0, "maximum": SEQ_MAX},
        },
        "additionalProperties": False,
    },
}


@extend_schema_field(POINTS)
class Trail(serializers.ListField):
    """Points of the last minutes."""


@extend_schema_field(FOLLOW)
class Follows(serializers.ListField):
    """Orders, each with the seq and the epoch of the last event seen."""


class QuoteSeenSerializer(serializers.Serializer[Any]):
    """A venue's quote."""

    venue = serializers.ChoiceField(choices=VENUE_NAMES)
    price = Decimals()
    feeBps = serializers.IntegerField()
    netPrice = Decimals(help_text="The price less the fee.")
    ageMs = serializers.IntegerField(min_value=0)


class LevelSerializer(serializers.Serializer[Any]):
    """A price at which orders rest."""

    price = Decimals()
    orders = serializers.IntegerField(min_value=1)


class FillSerializer(serializers.Serializer[Any]):
    """A trade that the chain executed."""

    orderId = serializers.UUIDField()
    at = serializers.DateTimeField()
    venue = serializers.ChoiceField(choices=VENUE_NAMES)
    price = Decimals()
    amountIn = Decimals()
    amountOut = Decimals()


class PricesSerializer(serializers.Serializer[Any]):
    """Quotes, BEST and how far the venues are apart."""

    at = serializers.DateTimeField()
    quotes = QuoteSeenSerializer(many=True)
    best = QuoteSeenSerializer(allow_null=True)
    spreadBps = Decimals(
        allow_null=True, help_text="The dearest venue's price less fee above the cheapest's; null with fewer than two."
    )
    freshMs = serializers.IntegerField(help_text="Age up to which BEST is routed on at once.")
    staleMs = serializers.IntegerField(help_text="Age up to which a quote may still be used.")


class SnapshotSerializer(PricesSerializer):
    """All that is known of the pair; the first message."""

    kind = Only("snapshot")
    pair = PairName()
    tokenIn = serializers.CharField()
    tokenOut = serializers.CharField()
    tick = Decimals(help_text="What limit prices of this pair are multiples of.")
    venues = serializers.ListField(child=serializers.CharField(), help_text="In the order of the trail's columns.")
    levels = LevelSerializer(many=True, help_text="The nearest first.")
    fills = FillSerializer(many=True, help_text="The last ones, the newest first.")
    trail = Trail(help_text="Points: epoch second, the price less fee of each venue, BEST.")


class UpdateSerializer(PricesSerializer):
    """What has changed since the last message; prices always, the rest only when it is new."""

    kind = Only("update")
    levels = LevelSerializer(many=True, required=False, help_text="All of them, when any has changed.")
    fills = FillSerializer(many=True, required=False, help_text="Those that are new.")


class FollowSerializer(serializers.Serializer[Any]):
    """Orders to follow and to let go; with neither it only asks for the answer."""

    follow = Follows(required=False)
    unfollow = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=ASKED_MAX)


class RewoundSerializer(serializers.Serializer[Any]):
    """Events past a seq belong to the order no longer: Redis was lost before they were saved.

    Drop them; what follows comes after that seq.
    """

    orderId = serializers.UUIDField()
    rewoundTo = serializers.IntegerField(min_value=1, help_text="The last seq that still stands.")
    epoch = serializers.IntegerField(min_value=0, help_text="The epoch to come back with, beside that seq.")
    reason = serializers.CharField()


class FollowingSerializer(serializers.Serializer[Any]):
    """How many orders are followed now."""

    following = serializers.IntegerField(min_value=0)
