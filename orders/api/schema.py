"""The OpenAPI description of each operation: answers, errors, parameters and examples."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from msgspec import Struct

from engine.lifecycle import Status
from engine.orders import OrderType
from orders.api import answers as read
from orders.api import examples
from orders.api import serializers as sent
from orders.api.components import reference
from orders.api.conditions import IF_MATCH
from orders.api.errors import KNOWN_ETAG, RESTING_ONLY
from orders.api.fields import CLIENT_ORDER_ID, TIME
from orders.api.filters import ACCEPTED, KINDS, PAIR_SCHEMA
from orders.api.paging import CURSOR, LIMIT_MAX, OrderPages
from orders.api.parsers import BODY_MAX

NONE: Mapping[str, Any] = {}


def error(said: str, code: str, message: str, *fields: dict[str, str | None]) -> OpenApiResponse:
    """Describe an error answer by example."""
    return errors(said, {code: wrong(code, message, *fields)})


def errors(said: str, values: Mapping[str, Any]) -> OpenApiResponse:
    """Describe an error answer by examples, each with its name."""
    return answer(read.Error, said, values)


def wrong(code: str, message: str, *fields: dict[str, str | None]) -> dict[str, Any]:
    """Write an error."""
    return {"error": {"code": code, "message": message, "fields": list(fields)}}


def answer(kind: type[Struct], said: str = "", values: Mapping[str, Any] = NONE) -> OpenApiResponse:
    """Describe an answer by examples, each with its name."""
    examples = [OpenApiExample(name, value) for name, value in values.items()]
    return OpenApiResponse(reference(kind.__name__), said, examples)


def asking(values: Mapping[str, Any]) -> list[OpenApiExample]:
    """Give examples of a request, each with its name."""
    return [OpenApiExample(name, value, request_only=True) for name, value in values.items()]


def field(name: str, value: str | None, message: str, accepted: str) -> dict[str, str | None]:
    """Write what is wrong with one field."""
    return {"field": name, "value": value, "message": message, "accepted": accepted}


WRONG_AMOUNT = wrong(
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
MEDIA_TYPE = error(
    "The body is not declared as application/json.",
    "unsupported_media_type",
    'Unsupported media type "text/plain" in request.',
)
NOT_JSON = {
    "not_json": wrong("not_json", "the body is not JSON: Expecting value: line 1 column 1 (char 0)"),
    "too_large": wrong("too_large", f"the body is larger than {BODY_MAX} bytes"),
}
INVALID = errors("The request is wrong; nothing was done.", {"invalid": WRONG_AMOUNT, **NOT_JSON})
AWAY_NOW = {
    "store_unreachable": wrong("store_unreachable", "the order store does not answer; try again in a few seconds"),
    "overloaded": wrong("overloaded", "more is waiting than can be done in time; try again in a second"),
}
AWAY = errors("A store is away, or too much is asked for at once.", AWAY_NOW)
HALTED = errors(
    "A store is away, too many orders wait, or an operator has paused the pair or everything; nothing was done.",
    {**AWAY_NOW, "paused": wrong("paused", "SOL-USDC is paused: a venue is being upgraded")},
)
NOT_FOR_US = error(
    "The request is malformed: such as a Host that is not this engine's.",
    "bad_request",
    "Invalid HTTP_HOST header: 'elsewhere'. You may need to add 'elsewhere' to ALLOWED_HOSTS.",
)
NOTHING_ELSE = {
    406: error(
        "Accept asks for something else than JSON.",
        "not_acceptable",
        "Could not satisfy the request Accept header.",
    )
}
"""What every operation may answer."""

ETAG = OpenApiParameter(
    "ETag",
    {"type": "string", "pattern": '^"[1-9][0-9]{0,8}"$'},
    OpenApiParameter.HEADER,
    response=[200],
    required=True,
    description="The order's seq, in quotation marks.",
)
ORDER_ID = OpenApiParameter(
    "order_id", {"type": "string", "format": "uuid"}, OpenApiParameter.PATH, description="The `orderId` of an order."
)
TIMES = {"type": "string", "format": "date-time", "pattern": TIME}
PARTS = ("process", "stores")
PARTS_ACCEPTED = f"one of: {', '.join(PARTS)}; without it, both"
EXPOSITION = "text/plain"
IDEMPOTENCY_KEY = OpenApiParameter(
    sent.IDEMPOTENCY_KEY,
    {"type": "string", "pattern": CLIENT_ORDER_ID},
    OpenApiParameter.HEADER,
    description="Stands for clientOrderId.",
)

execute_order = extend_schema(
    operation_id="execute_order",
    summary="Place an order",
    request=sent.ExecuteSerializer,
    examples=asking(
        {"A market order": examples.MARKET, "A limit order": examples.LIMIT, "A sniper order": examples.SNIPER}
    ),
    responses={
        **NOTHING_ELSE,
        202: answer(
            read.Accepted,
            "The order is committed and on its way, or rests.",
            {"The order is committed": examples.ACKNOWLEDGED},
        ),
        400: INVALID,
        409: TAKEN,
        415: MEDIA_TYPE,
        503: HALTED,
    },
    parameters=[IDEMPOTENCY_KEY],
)
estimate_order = extend_schema(
    operation_id="estimate_order",
    summary="Say what an order would get",
    request=sent.ExecuteSerializer,
    examples=asking({"A limit order": examples.LIMIT}),
    responses={
        **NOTHING_ELSE,
        200: answer(read.Estimate, "What it would get now.", {"A limit order": examples.ESTIMATE}),
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
        **NOTHING_ELSE,
        200: answer(
            read.Verdicts,
            "What became of each order, in the order they came.",
            {
                "One accepted, one refused": {
                    "results": [
                        {"status": 202, "order": examples.ACKNOWLEDGED},
                        {"status": 400, **WRONG_AMOUNT},
                    ],
                    "accepted": 1,
                    "refused": 1,
                }
            },
        ),
        400: BAD_BATCH,
        415: MEDIA_TYPE,
        503: HALTED,
    },
)
list_orders = extend_schema(
    operation_id="list_orders",
    summary="List orders",
    responses={**NOTHING_ELSE, 200: answer(read.Orders), 400: BAD_PARAMETER, 503: AWAY},
    parameters=[
        OpenApiParameter("status", str, enum=list(Status), many=True, description=ACCEPTED["status"]),
        OpenApiParameter("type", str, enum=list(OrderType), description=ACCEPTED["type"]),
        OpenApiParameter("pair", PAIR_SCHEMA, description=ACCEPTED["pair"]),
        OpenApiParameter("createdAfter", TIMES, description="From this time on."),
        OpenApiParameter("createdBefore", TIMES, description="Before this time."),
        OpenApiParameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": OrderPages.page_size},
            description="Orders on a page.",
        ),
        OpenApiParameter("cursor", {"type": "string", "pattern": CURSOR}, description=ACCEPTED["cursor"]),
    ],
)
cancel_orders = extend_schema(
    operation_id="cancel_orders",
    summary="Cancel all resting orders of a pair",
    responses={
        **NOTHING_ELSE,
        200: answer(
            read.Cancelled,
            "What became of them.",
            {"All are cancelled": {"pair": "SOL-USDC", "cancelled": 12, "lost": 0, "complete": True}},
        ),
        400: NO_PAIR_NAMED,
        503: AWAY,
    },
    parameters=[
        OpenApiParameter("pair", PAIR_SCHEMA, required=True, description=ACCEPTED["pair"]),
        OpenApiParameter("type", str, enum=list(KINDS), description="Only orders of this type."),
    ],
)
get_order = extend_schema(
    operation_id="get_order",
    summary="Show an order",
    responses={
        **NOTHING_ELSE,
        200: answer(read.Order, "The order as it stands.", {"A limit order that rests": examples.RESTING}),
        400: BAD_PARAMETER,
        404: NO_ORDER,
        503: AWAY,
    },
    parameters=[ORDER_ID, ETAG],
)
amend_order = extend_schema(
    operation_id="amend_order",
    summary="Change a resting order",
    request=sent.AmendSerializer,
    examples=asking({"Another price and no expiry": examples.AMENDMENT}),
    responses={
        **NOTHING_ELSE,
        200: answer(read.Order, "The order as it stands now.", {"Its price was changed": examples.AMENDED}),
        400: OFF_TICK,
        404: NO_ORDER,
        409: NOT_RESTING,
        412: CHANGED,
        415: MEDIA_TYPE,
        428: UNCONDITIONAL,
        503: AWAY,
    },
    parameters=[
        ORDER_ID,
        ETAG,
        OpenApiParameter(
            "If-Match",
            {"type": "string", "pattern": IF_MATCH},
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
        **NOTHING_ELSE,
        200: answer(read.Order, "The order as it stands now.", {"It is cancelled": examples.CANCELLED}),
        400: BAD_PARAMETER,
        404: NO_ORDER,
        409: NOT_RESTING,
        503: AWAY,
    },
    parameters=[ORDER_ID, ETAG],
)
get_order_events = extend_schema(
    operation_id="get_order_events",
    summary="Show an order's events",
    responses={
        **NOTHING_ELSE,
        200: answer(
            read.Events,
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
        ORDER_ID,
        OpenApiParameter(
            "after",
            {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0},
            description="Only events with a greater seq.",
        ),
        OpenApiParameter(
            "epoch",
            {"type": "integer", "minimum": 0, "maximum": 999_999_999},
            description="The epoch of the last event seen; without it some may be listed again, after a `rewoundTo`.",
        ),
    ],
)
get_quotes = extend_schema(
    operation_id="get_quotes",
    summary="Show a pair's quotes",
    responses={**NOTHING_ELSE, 200: answer(read.Quotes), 400: BAD_PARAMETER, 404: NO_PAIR, 503: AWAY},
    parameters=[
        OpenApiParameter("pair", PAIR_SCHEMA, OpenApiParameter.PATH, description="As `GET /api/pairs` lists them.")
    ],
)
list_pairs = extend_schema(
    operation_id="list_pairs",
    summary="List what is traded",
    responses={**NOTHING_ELSE, 200: {"type": "array", "items": reference("Pair")}, 400: BAD_PARAMETER, 503: AWAY},
)
health = extend_schema(
    operation_id="health",
    summary="Say that the process lives",
    responses={**NOTHING_ELSE, 200: answer(read.Health), 400: NOT_FOR_US, 503: AWAY},
)
readiness = extend_schema(
    operation_id="readiness",
    summary="Say whether the process can do its work",
    responses={
        **NOTHING_ELSE,
        200: answer(
            read.Ready,
            "It can; `degraded` names in `parts` what orders may have to wait for.",
            {"All is well": examples.READY, "The limit worker is gone": examples.DEGRADED},
        ),
        400: NOT_FOR_US,
        503: answer(read.NotReady, "A store is away.", {"Redis is away": examples.NOT_READY}),
    },
)
metrics = extend_schema(
    operation_id="metrics",
    summary="Show the metrics, for Prometheus",
    responses={
        (200, EXPOSITION): OpenApiResponse(str, "The metrics, in Prometheus' text format."),
        400: error(
            "A parameter is wrong.",
            "invalid",
            "part is not a part of the metrics",
            field("part", "queues", "is not a part of the metrics", PARTS_ACCEPTED),
        ),
        503: AWAY,
    },
    parameters=[OpenApiParameter("part", str, enum=list(PARTS), description=PARTS_ACCEPTED)],
)
