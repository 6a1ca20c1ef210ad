"""The OpenAPI description of each operation: answers, errors, parameters and examples."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from engine.lifecycle import Status
from engine.orders import OrderType
from orders.api import serializers as shape
from orders.api.filters import ACCEPTED
from orders.api.paging import LIMIT_MAX, OrderPages

ORDER_ID = "019d3f0e-6a51-7c4e-9b1a-2f5f0a8d2c11"
AT = "2026-11-22T12:00:00.000Z"
ADDRESSES = {
    "self": f"http://localhost:8000/api/orders/{ORDER_ID}",
    "events": f"http://localhost:8000/api/orders/{ORDER_ID}/events",
    "ws": f"ws://localhost:8000/ws/{ORDER_ID}",
}
ASKED = {
    "type": "market",
    "tokenIn": "SOL",
    "tokenOut": "USDC",
    "amount": "1.5",
    "slippageBps": 50,
    "clientOrderId": "rebalance-2026-11-22",
}
FACTS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("pending", 0, {"type": "market", "pair": "SOL-USDC", "amountIn": "1.5", "slippageBps": 50}),
    (
        "routing",
        1,
        {
            "venue": "METEORA",
            "reason": "METEORA pays 0.21 % more than RAYDIUM after fees",
            "source": "best",
            "quotes": [
                {
                    "venue": "METEORA",
                    "price": "155.2",
                    "feeBps": 20,
                    "netPrice": "154.8896",
                    "ageMs": 310,
                    "amountOut": "232.33",
                },
                {
                    "venue": "RAYDIUM",
                    "price": "154.95",
                    "feeBps": 25,
                    "netPrice": "154.562625",
                    "ageMs": 280,
                    "amountOut": "231.84",
                },
            ],
            "missing": [],
        },
    ),
    ("building", 1, {"venue": "METEORA", "expectedOut": "232.33", "minimumOut": "231.16", "quotedPrice": "154.88"}),
    ("submitted", 1, {"venue": "METEORA", "txHash": "5h…", "lastValidBlockHeight": 1150}),
    (
        "confirmed",
        1,
        {
            "venue": "METEORA",
            "txHash": "5h…",
            "slot": 1003,
            "amountIn": "1.5",
            "amountOut": "232.31",
            "executedPrice": "154.873333333",
            "slippageBps": "0.86",
            "fees": {"venueFeeBps": 20, "venueFee": "0.003", "venueFeeToken": "SOL", "networkFeeLamports": 5000},
        },
    ),
)
EVENTS = [
    {"orderId": ORDER_ID, "seq": seq, "status": status, "at": AT, "attempt": attempt, **facts}
    for seq, (status, attempt, facts) in enumerate(FACTS, 1)
]


def error(said: str, code: str, message: str, *fields: dict[str, str | None]) -> OpenApiResponse:
    """Describe an error answer by example."""
    value = {"error": {"code": code, "message": message, "fields": list(fields)}}
    return OpenApiResponse(shape.ErrorSerializer, said, [OpenApiExample(code, value)])


def answer(serializer: Any, said: str, value: Any) -> OpenApiResponse:
    """Describe a good answer by example."""
    return OpenApiResponse(serializer, said, [OpenApiExample(said, value)])


INVALID = error(
    "The request is wrong; nothing was done.",
    "invalid",
    "amount must be greater than zero",
    {"field": "amount", "value": "-1", "message": "must be greater than zero", "accepted": shape.ACCEPTED["amount"]},
)
BAD_PARAMETER = error(
    "A parameter is wrong.",
    "invalid",
    "limit is not acceptable",
    {"field": "limit", "value": "0", "message": "is not acceptable", "accepted": ACCEPTED["limit"]},
)
NO_ORDER = error("There is no such order.", "not_found", f"there is no order {ORDER_ID}")
NO_PAIR = error("There is no such pair.", "not_found", "there is no pair SOL-DOGE; GET /api/pairs lists them")
TAKEN = error(
    "The clientOrderId names a different order.",
    "client_order_id_taken",
    f"clientOrderId already names order {ORDER_ID}, which is a different one",
    {
        "field": "clientOrderId",
        "value": "rebalance-2026-11-22",
        "message": f"already names order {ORDER_ID}, which is a different one",
        "accepted": "a new id, or exactly the request that first used this one",
    },
)
MEDIA_TYPE = error("The body is not declared as application/json.", "unsupported_media_type", "Unsupported media type")
AWAY = error("A store is away, or too many orders wait.", "store_unreachable", "the order store does not answer")

execute_order = extend_schema(
    operation_id="execute_order",
    summary="Place an order",
    request=shape.ExecuteSerializer,
    examples=[OpenApiExample("A market order", ASKED, request_only=True)],
    responses={
        202: answer(
            shape.AcceptedSerializer,
            "The order is committed and on its way.",
            {"orderId": ORDER_ID, "status": "pending", "createdAt": AT, "links": ADDRESSES},
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
list_orders = extend_schema(
    operation_id="list_orders",
    summary="List orders",
    responses={200: shape.OrdersSerializer, 400: BAD_PARAMETER, 503: AWAY},
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
get_order = extend_schema(
    operation_id="get_order",
    summary="Show an order",
    responses={200: shape.OrderSerializer, 400: BAD_PARAMETER, 404: NO_ORDER, 503: AWAY},
)
get_order_events = extend_schema(
    operation_id="get_order_events",
    summary="Show an order's events",
    responses={
        200: answer(
            shape.EventsSerializer, "What the order's clients have been told.", {"orderId": ORDER_ID, "events": EVENTS}
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
    responses={200: shape.QuotesSerializer, 400: BAD_PARAMETER, 404: NO_PAIR, 503: AWAY},
)
list_pairs = extend_schema(
    operation_id="list_pairs",
    summary="List what is traded",
    responses={200: shape.PairSerializer(many=True), 400: BAD_PARAMETER, 503: AWAY},
)
health = extend_schema(operation_id="health", summary="Say that the process lives", responses=shape.HealthSerializer)
readiness = extend_schema(
    operation_id="readiness",
    summary="Say whether the process can do its work",
    responses={200: shape.ReadySerializer, 503: shape.NotReadySerializer},
)
