"""The OpenAPI description of each operation: answers, errors, parameters and examples."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from engine.lifecycle import Status
from engine.orders import OrderType
from orders.api import answers as read
from orders.api import examples
from orders.api import serializers as sent
from orders.api.errors import KNOWN_ETAG, RESTING_ONLY
from orders.api.filters import ACCEPTED, KINDS
from orders.api.paging import LIMIT_MAX, OrderPages


def error(said: str, code: str, message: str, *fields: dict[str, str | None]) -> OpenApiResponse:
    """Describe an error answer by example."""
    value = {"error": {"code": code, "message": message, "fields": list(fields)}}
    return OpenApiResponse(read.ErrorSerializer, said, [OpenApiExample(code, value)])


def answer(serializer: Any, said: str, values: Mapping[str, Any]) -> OpenApiResponse:
    """Describe a good answer by examples, each with its name."""
    return OpenApiResponse(serializer, said, [OpenApiExample(name, value) for name, value in values.items()])


def asking(values: Mapping[str, Any]) -> list[OpenApiExample]:
    """Give examples of a request, each with its name."""
    return [OpenApiExample(name, value, request_only=True) for name, value in values.items()]


def field(name: str, value: str | None, message: str, accepted: str) -> dict[str, str | None]:
    """Write what is wrong with one field."""
    return {"field": name, "value": value, "message": message, "accepted": accepted}


INVALID = error(
    "The request is wrong; nothing was done.",
    "invalid",
    "amount must be greater than zero",
    field("amount", "-1", "must be greater than zero", sent.ACCEPTED["amount"]),
)
BAD_PARAMETER = error(
    "A parameter is wrong.",
    "invalid",
    "limit is not acceptable",
    field("limit", "0", "is not acceptable", ACCEPTED["limit"]),
)
TICKS = "is not on the tick of 0.01; the nearest are 158.50 and 158.51"
OFF_TICK = error(
    "The request is wrong; nothing was changed.",
    "invalid",
    f"limitPrice {TICKS}",
    field("limitPrice", "158.505", TICKS, sent.ACCEPTED["limitPrice"]),
)
NO_PAIR_NAMED = error(
    "A parameter is wrong; nothing was cancelled.",
    "invalid",
    "pair is missing",
    field("pair", None, "is missing", ACCEPTED["pair"]),
)
BAD_BATCH = error(
    "The batch is wrong as a whole; nothing was done.",
    "invalid",
    f"orders must be {sent.BATCH}",
    field("orders", "[]", f"must be {sent.BATCH}", sent.BATCH),
)
NO_ORDER = error("There is no such order.", "not_found", f"there is no order {examples.ORDER_ID}")
NO_PAIR = error("There is no such pair.", "not_found", "there is no pair SOL-DOGE; GET /api/pairs lists them")
ALREADY = f"already names order {examples.ORDER_ID}, which is a different one"
TAKEN = error(
    "The clientOrderId names a different order.",
    "client_order_id_taken",
    f"clientOrderId {ALREADY}",
    field(
        "clientOrderId",
        "rebalance-2026-11-22",
        ALREADY,
        "a new id, or exactly the request that first used this one",
    ),
)
NOT_RESTING = error(
    "The order does not rest, or no longer; nothing was done.",
    "not_resting",
    "the order is confirmed; only a resting order can be cancelled or amended",
    field("status", "confirmed", "is confirmed", RESTING_ONLY),
)
MOVED_ON = "names another seq than the order's, which is 8"
CHANGED = error(
    "The order has moved on; nothing was changed.",
    "changed",
    f"If-Match {MOVED_ON}",
    field("If-Match", None, MOVED_ON, KNOWN_ETAG),
)
UNCONDITIONAL = error(
    "If-Match is missing; nothing was changed.",
    "precondition_required",
    "If-Match is missing",
    field("If-Match", None, "is missing", KNOWN_ETAG),
)
MEDIA_TYPE = error("The body is not declared as application/json.", "unsupported_media_type", "Unsupported media type")
AWAY = error("A store is away, or too many orders wait.", "store_unreachable", "the order store does not answer")

ETAG = OpenApiParameter(
    "ETag", str, OpenApiParameter.HEADER, response=[200], description="The order's seq, in quotation marks."
)

execute_order = extend_schema(
    operation_id="execute_order",
    summary="Place an order",
    request=sent.ExecuteSerializer,
    examples=asking(
        {"A market order": examples.MARKET, "A limit order": examples.LIMIT, "A sniper order": examples.SNIPER}
    ),
    responses={
        202: answer(
            read.AcceptedSerializer,
            "The order is committed and on its way, or rests.",
            {"The order is committed": examples.ACKNOWLEDGED},
        ),
        400: INVALID,
        409: TAKEN,
        415: MEDIA_TYPE,
        503: AWAY,
    },
    parameters=[
        OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description="Stands for clientOrderId.")
    ],
)
estimate_order = extend_schema(
    operation_id="estimate_order",
    summary="Say what an order would get",
    request=sent.ExecuteSerializer,
    examples=asking({"A limit order": examples.LIMIT}),
    responses={
        200: answer(read.EstimateSerializer, "What it would get now.", {"A limit order": examples.ESTIMATE}),
        400: INVALID,
        415: MEDIA_TYPE,
        503: AWAY,
    },
)
execute_batch = extend_schema(
    operation_id="execute_batch",
    summary="Place many orders",
    request=sent.BatchSerializer,
    examples=asking({"Two orders": examples.BATCH}),
    responses={
        200: answer(
            read.VerdictsSerializer,
            "What became of each order, in the order they came.",
            {
                "One accepted, one refused": {
                    "results": [
                        {"status": 202, "order": examples.ACKNOWLEDGED},
                        {"status": 400, **INVALID.examples[0].value},
                    ],
                    "accepted": 1,
                    "refused": 1,
                }
            },
        ),
        400: BAD_BATCH,
        415: MEDIA_TYPE,
        503: AWAY,
    },
)
list_orders = extend_schema(
    operation_id="list_orders",
    summary="List orders",
    responses={200: read.OrdersSerializer, 400: BAD_PARAMETER, 503: AWAY},
    parameters=[
        OpenApiParameter("status", str, enum=list(Status), many=True, description=ACCEPTED["status"]),
        OpenApiParameter("type", str, enum=list(OrderType), description=ACCEPTED["type"]),
        OpenApiParameter("pair", str, description=ACCEPTED["pair"]),
        OpenApiParameter("createdAfter", {"type": "string", "format": "date-time"}, description="From this time on."),
        OpenApiParameter("createdBefore", {"type": "string", "format": "date-time"}, description="Before this time."),
        OpenApiParameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": OrderPages.page_size},
            description="Orders on a page.",
        ),
        OpenApiParameter("cursor", str, description=ACCEPTED["cursor"]),
    ],
)
cancel_orders = extend_schema(
    operation_id="cancel_orders",
    summary="Cancel all resting orders of a pair",
    responses={
        200: answer(
            read.CancelledSerializer,
            "What became of them.",
            {"All are cancelled": {"pair": "SOL-USDC", "cancelled": 12, "lost": 0, "complete": True}},
        ),
        400: NO_PAIR_NAMED,
        503: AWAY,
    },
    parameters=[
        OpenApiParameter("pair", str, required=True, description=ACCEPTED["pair"]),
        OpenApiParameter("type", str, enum=list(KINDS), description="Only orders of this type."),
    ],
)
get_order = extend_schema(
    operation_id="get_order",
    summary="Show an order",
    responses={
        200: answer(read.OrderSerializer, "The order as it stands.", {"A limit order that rests": examples.RESTING}),
        400: BAD_PARAMETER,
        404: NO_ORDER,
        503: AWAY,
    },
    parameters=[ETAG],
)
amend_order = extend_schema(
    operation_id="amend_order",
    summary="Change a resting order",
    request=sent.AmendSerializer,
    examples=asking({"Another price and no expiry": examples.AMENDMENT}),
    responses={
        200: answer(read.OrderSerializer, "The order as it stands now.", {"Its price was changed": examples.AMENDED}),
        400: OFF_TICK,
        404: NO_ORDER,
        409: NOT_RESTING,
        412: CHANGED,
        415: MEDIA_TYPE,
        428: UNCONDITIONAL,
        503: AWAY,
    },
    parameters=[
        ETAG,
        OpenApiParameter(
            "If-Match",
            str,
            OpenApiParameter.HEADER,
            required=True,
            description='The ETag the order was read with: its seq, such as "7".',
        ),
    ],
)
cancel_order = extend_schema(
    operation_id="cancel_order",
    summary="Cancel an order",
    responses={
        200: answer(read.OrderSerializer, "The order as it stands now.", {"It is cancelled": examples.CANCELLED}),
        400: BAD_PARAMETER,
        404: NO_ORDER,
        409: NOT_RESTING,
        503: AWAY,
    },
    parameters=[ETAG],
)
get_order_events = extend_schema(
    operation_id="get_order_events",
    summary="Show an order's events",
    responses={
        200: answer(
            read.EventsSerializer,
            "What the order's clients have been told.",
            {
                "A market order, filled": examples.told(examples.FILLED),
                "A limit order, amended, fired in vain, cancelled": examples.told(examples.RETURNED),
                "A limit order, expired": examples.told(examples.EXPIRED),
                "A sniper order, refused by a gate": examples.told(examples.REFUSED),
            },
        ),
        400: BAD_PARAMETER,
        404: NO_ORDER,
        503: AWAY,
    },
    parameters=[
        OpenApiParameter(
            "after",
            {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0},
            description="Only events with a greater seq.",
        )
    ],
)
get_quotes = extend_schema(
    operation_id="get_quotes",
    summary="Show a pair's quotes",
    responses={200: read.QuotesSerializer, 400: BAD_PARAMETER, 404: NO_PAIR, 503: AWAY},
)
list_pairs = extend_schema(
    operation_id="list_pairs",
    summary="List what is traded",
    responses={200: read.PairSerializer(many=True), 400: BAD_PARAMETER, 503: AWAY},
)
health = extend_schema(operation_id="health", summary="Say that the process lives", responses=read.HealthSerializer)
readiness = extend_schema(
    operation_id="readiness",
    summary="Say whether the process can do its work",
    responses={
        200: answer(
            read.ReadySerializer,
            "It can; `degraded` names in `parts` what orders may have to wait for.",
            {"All is well": examples.READY, "The limit worker is gone": examples.DEGRADED},
        ),
        503: answer(read.NotReadySerializer, "A store is away.", {"Redis is away": examples.NOT_READY}),
    },
)
