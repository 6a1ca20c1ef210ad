"""The OpenAPI description of each operation: answers, errors, parameters and examples."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.core.exceptions import DisallowedHost
from django.http import Http404
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from msgspec import Struct
from rest_framework.exceptions import NotAcceptable, UnsupportedMediaType

from engine.lifecycle import Status
from engine.orders import OrderType
from orders.api import answers as read
from orders.api import examples, market
from orders.api import serializers as sent
from orders.api.components import reference
from orders.api.conditions import IF_MATCH
from orders.api.errors import STORE_AWAY, Field, Invalid, Unconditional, body, describe
from orders.api.fields import CLIENT_ORDER_ID, TIME
from orders.api.filters import ACCEPTED, KINDS, PAIR_SCHEMA
from orders.api.paging import CURSOR, LIMIT_MAX, OrderPages
from orders.api.parsers import BODY_MAX
from orders.flow.batcher import Overloaded
from orders.flow.intake import Conflict, Paused
from orders.flow.waiting import Changed, NotResting

View = TypeVar("View", bound=Callable[..., Any])
Responses = Mapping[Any, Any]
NONE: Mapping[str, Any] = {}


def answer(kind: type[Struct], said: str = "", values: Mapping[str, Any] = NONE) -> OpenApiResponse:
    """Describe an answer by examples, each with its name."""
    examples = [OpenApiExample(name, value) for name, value in values.items()]
    return OpenApiResponse(reference(kind.__name__), said, examples)


def refused(said: str, *reasons: Exception | tuple[int, Any]) -> Responses:
    """Describe an error answer by what these reasons, all of one status, are answered with."""
    answers = [one for reason in reasons if (one := describe(reason) if isinstance(reason, Exception) else reason)]
    (status,) = {status for status, _ in answers}
    return {status: answer(read.Error, said, {error["error"]["code"]: error for _, error in answers})}


def wrong(name: str, value: str | None, message: str, accepted: str) -> Invalid:
    """Make the error of one wrong field."""
    return Invalid(f"{name} {message}", [Field(name, value, message, accepted)])


def operation(name: str, summary: str, good: Responses, *refusals: Responses, **more: Any) -> Callable[[View], View]:
    """Describe an operation that takes and gives JSON and needs the stores; its examples are of its request."""
    responses = {**NOT_ACCEPTABLE, **AWAY, **(MEDIA_TYPE if "request" in more else {})}
    for refusal in (*refusals, good):
        responses |= refusal
    values: Mapping[str, Any] = more.pop("examples", NONE)
    asking = [OpenApiExample(title, value, request_only=True) for title, value in values.items()]
    return extend_schema(operation_id=name, summary=summary, responses=responses, examples=asking, **more)


WRONG_AMOUNT = wrong("amount", "-1", "must be greater than zero", sent.ACCEPTED["amount"])
BAD_PARAMETER = refused("A parameter is wrong.", wrong("limit", "0", "is not accepted", ACCEPTED["limit"]))
TICKS = "is not on the tick of 0.01; the nearest are 158.50 and 158.51"
OFF_TICK = refused(
    "The request is wrong; nothing was changed.", wrong("limitPrice", "158.505", TICKS, sent.ACCEPTED["limitPrice"])
)
NO_PAIR_NAMED = refused(
    "A parameter is wrong; nothing was cancelled.", wrong("pair", None, "is missing", ACCEPTED["pair"])
)
BAD_BATCH = refused(
    "The batch is wrong as a whole; nothing was done.", wrong("orders", "[]", f"must be {sent.BATCH}", sent.BATCH)
)
NO_ORDER = refused("There is no such order.", Http404(f"there is no order {examples.ORDER_ID}"))
NO_PAIR = refused("There is no such pair.", Http404("there is no pair SOL-DOGE; GET /api/pairs lists them"))
TAKEN = refused("The clientOrderId belongs to a different order.", Conflict("rebalance-2026-11-22", examples.ORDER_ID))
NOT_RESTING = refused("The order is not resting; nothing was done.", NotResting(examples.ORDER_ID, Status.CONFIRMED, 8))
CHANGED = refused("The order has changed since; nothing was changed.", Changed(examples.ORDER_ID, 8))
UNCONDITIONAL = refused("If-Match is missing; nothing was changed.", Unconditional())
MEDIA_TYPE = refused("The body is not declared as application/json.", UnsupportedMediaType("text/plain"))
INVALID = refused(
    "The request is wrong; nothing was done.",
    WRONG_AMOUNT,
    Invalid("the body is not JSON: Expecting value: line 1 column 1 (char 0)", code="not_json"),
    Invalid(f"the body is larger than {BODY_MAX} bytes", code="too_large"),
)
AWAY = refused("A store is unavailable, or the engine is overloaded.", STORE_AWAY, Overloaded())
HALTED = refused(
    "A store is unavailable, the engine is overloaded, or an operator has paused trading; nothing was done.",
    STORE_AWAY,
    Overloaded(),
    Paused("SOL-USDC", "a venue is being upgraded"),
)
NOT_FOR_US = refused(
    "The request is malformed, for example an unknown Host.",
    DisallowedHost("Invalid HTTP_HOST header: 'elsewhere'. You may need to add 'elsewhere' to ALLOWED_HOSTS."),
)
NOT_ACCEPTABLE = refused("Accept excludes JSON.", NotAcceptable())

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
SEQ = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
TIMES = {"type": "string", "format": "date-time", "pattern": TIME}
PARTS = ("process", "stores")
PARTS_ACCEPTED = f"one of: {', '.join(PARTS)}; both if omitted"
EXPOSITION = "text/plain"
IDEMPOTENCY_KEY = OpenApiParameter(
    sent.IDEMPOTENCY_KEY,
    {"type": "string", "pattern": CLIENT_ORDER_ID},
    OpenApiParameter.HEADER,
    description="Used as the clientOrderId.",
)

execute_order = operation(
    "execute_order",
    "Place an order",
    {
        202: answer(
            read.Accepted,
            "The order is committed; it executes or rests.",
            {"The order is committed": examples.ACKNOWLEDGED},
        )
    },
    *(INVALID, TAKEN, HALTED),
    request=sent.ExecuteSerializer,
    examples={"A market order": examples.MARKET, "A limit order": examples.LIMIT, "A sniper order": examples.SNIPER},
    parameters=[IDEMPOTENCY_KEY],
)
estimate_order = operation(
    "estimate_order",
    "Estimate an order",
    {200: answer(read.Estimate, "What the order would get now.", {"A limit order": examples.ESTIMATE})},
    INVALID,
    request=sent.ExecuteSerializer,
    examples={"A limit order": examples.LIMIT},
)
execute_batch = operation(
    "execute_batch",
    "Place many orders",
    {
        200: answer(
            read.Verdicts,
            "The outcome of each order, in request order.",
            {
                "One accepted, one refused": {
                    "results": [
                        {"status": 202, "order": examples.ACKNOWLEDGED},
                        {"status": 400, **body(WRONG_AMOUNT.code, WRONG_AMOUNT.message, WRONG_AMOUNT.fields)},
                    ],
                    "accepted": 1,
                    "refused": 1,
                }
            },
        )
    },
    *(BAD_BATCH, HALTED),
    request=sent.BatchSerializer,
    examples={"Two orders": examples.BATCH},
)
list_orders = operation(
    "list_orders",
    "List orders",
    {200: answer(read.Orders)},
    BAD_PARAMETER,
    parameters=[
        OpenApiParameter("status", str, enum=list(Status), many=True, description=ACCEPTED["status"]),
        OpenApiParameter("type", str, enum=list(OrderType), description=ACCEPTED["type"]),
        OpenApiParameter("pair", PAIR_SCHEMA, description=ACCEPTED["pair"]),
        OpenApiParameter("createdAfter", TIMES, description="At or after this time."),
        OpenApiParameter("createdBefore", TIMES, description="Before this time."),
        OpenApiParameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": OrderPages.page_size},
            description="Orders on a page.",
        ),
        OpenApiParameter("cursor", {"type": "string", "pattern": CURSOR}, description=ACCEPTED["cursor"]),
    ],
)
cancel_orders = operation(
    "cancel_orders",
    "Cancel all resting orders of a pair",
    {
        200: answer(
            read.Cancelled,
            "How many orders were cancelled.",
            {"All are cancelled": {"pair": "SOL-USDC", "cancelled": 12, "lost": 0, "complete": True}},
        )
    },
    NO_PAIR_NAMED,
    parameters=[
        OpenApiParameter("pair", PAIR_SCHEMA, required=True, description=ACCEPTED["pair"]),
        OpenApiParameter("type", str, enum=list(KINDS), description="Only orders of this type."),
    ],
)
get_order = operation(
    "get_order",
    "Show an order",
    {200: answer(read.Order, "The current state of the order.", {"A limit order that rests": examples.RESTING})},
    *(BAD_PARAMETER, NO_ORDER),
    parameters=[ORDER_ID, ETAG],
)
amend_order = operation(
    "amend_order",
    "Change a resting order",
    {200: answer(read.Order, "The state of the order now.", {"Its price was changed": examples.AMENDED})},
    *(OFF_TICK, NO_ORDER, NOT_RESTING, CHANGED, UNCONDITIONAL),
    request=sent.AmendSerializer,
    examples={"Another price and no expiry": examples.AMENDMENT},
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
cancel_order = operation(
    "cancel_order",
    "Cancel an order",
    {200: answer(read.Order, "The state of the order now.", {"It is cancelled": examples.CANCELLED})},
    *(BAD_PARAMETER, NO_ORDER, NOT_RESTING),
    parameters=[ORDER_ID, ETAG],
)
get_order_events = operation(
    "get_order_events",
    "Show an order's events",
    {
        200: answer(
            read.Events,
            "The events published so far.",
            {
                "A market order, filled": examples.told(examples.FILLED),
                "A limit order, amended, fired without a fill, cancelled": examples.told(examples.RETURNED),
                "A limit order, expired": examples.told(examples.EXPIRED),
                "A sniper order, refused by a token check": examples.told(examples.REFUSED),
            },
        )
    },
    *(BAD_PARAMETER, NO_ORDER),
    parameters=[
        ORDER_ID,
        OpenApiParameter("after", {**SEQ, "default": 0}, description="Only events with a greater seq."),
        OpenApiParameter(
            "epoch",
            SEQ,
            description="The epoch of the last event seen; without it some may be listed again, after a `rewoundTo`.",
        ),
    ],
)
get_quotes = operation(
    "get_quotes",
    "Show a pair's quotes",
    {200: answer(market.Quotes)},
    *(BAD_PARAMETER, NO_PAIR),
    parameters=[
        OpenApiParameter("pair", PAIR_SCHEMA, OpenApiParameter.PATH, description="As `GET /api/pairs` lists them.")
    ],
)
list_pairs = operation(
    "list_pairs", "List the traded pairs", {200: {"type": "array", "items": reference("Pair")}}, BAD_PARAMETER
)
health = operation("health", "Check liveness", {200: answer(read.Health)}, NOT_FOR_US)
readiness = operation(
    "readiness",
    "Check readiness",
    {
        200: answer(
            read.Ready,
            "Ready; if `degraded`, `parts` names what orders may wait for.",
            {"All is well": examples.READY, "No limit worker": examples.DEGRADED},
        ),
        503: answer(read.NotReady, "A store is unavailable.", {"Redis is unavailable": examples.NOT_READY}),
    },
    NOT_FOR_US,
)
metrics = extend_schema(
    operation_id="metrics",
    summary="Show the metrics, for Prometheus",
    responses={
        (200, EXPOSITION): OpenApiResponse(str, "The metrics, in Prometheus' text format."),
        **refused("A parameter is wrong.", wrong("part", "queues", "is not a part of the metrics", PARTS_ACCEPTED)),
        **AWAY,
    },
    parameters=[OpenApiParameter("part", str, enum=list(PARTS), description=PARTS_ACCEPTED)],
)
