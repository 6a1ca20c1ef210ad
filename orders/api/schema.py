"""The OpenAPI description of each operation: answers, errors, parameters and examples."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from orders.api import answers as read
from orders.api import examples, market, order_csv
from orders.api import serializers as sent
from orders.api.components import reference
from orders.api.conditions import IF_MATCH
from orders.api.errors import body
from orders.api.fields import CLIENT_ORDER_ID, TIME
from orders.api.filters import ACCEPTED, CANCELLED_PAIR, FORMATS, KINDS, PAIR_SCHEMA
from orders.api.paging import CURSOR, LIMIT_MAX, OrderPages
from orders.api.refusals import (
    AWAY,
    BAD_BATCH,
    BAD_PARAMETER,
    CHANGED,
    EXPORTING,
    INVALID,
    LIMITED,
    MEDIA_TYPE,
    NO_ORDER,
    NO_PAIR,
    NO_PAIR_NAMED,
    NONE,
    NOT_ACCEPTABLE,
    NOT_RESTING,
    OFF_TICK,
    REJECTED,
    STOPPED,
    TAKEN,
    UNCONDITIONAL,
    UNKNOWN,
    WRONG_AMOUNT,
    Responses,
    answer,
)

View = TypeVar("View", bound=Callable[..., Any])


def operation(name: str, summary: str, good: Responses, *refusals: Responses, **more: Any) -> Callable[[View], View]:
    """Describe an operation that takes and gives JSON and needs the stores; its examples are of its request."""
    known = {} if more.get("auth") == [] else UNKNOWN
    responses = {**NOT_ACCEPTABLE, **known, **AWAY, **(MEDIA_TYPE if "request" in more else {})}
    for refusal in (*refusals, good):
        responses |= refusal
    values: Mapping[str, Any] = more.pop("examples", NONE)
    asking = [OpenApiExample(title, value, request_only=True) for title, value in values.items()]
    return extend_schema(operation_id=name, summary=summary, responses=responses, examples=asking, **more)


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
IDEMPOTENCY_KEY = OpenApiParameter(
    sent.IDEMPOTENCY_KEY,
    {"type": "string", "pattern": CLIENT_ORDER_ID},
    OpenApiParameter.HEADER,
    description="Used as the clientOrderId.",
)
REPLAYED = OpenApiParameter(
    "Idempotency-Replayed",
    {"type": "string", "const": "true"},
    OpenApiParameter.HEADER,
    response=[200, 202],
    description="The order, or each accepted one of a batch, stood before this request; nothing was placed.",
)

CSV = order_csv.lines([order_csv.COLUMNS, order_csv.cells(examples.RESTING)])
LISTED = (
    "A page of orders as JSON; or, by `Accept: text/csv` or `format=csv`, all as CSV, streamed, without `limit` and "
    "`cursor`.  Numbers are written without an exponent.  A text that a spreadsheet may take for a formula begins "
    "with an apostrophe.  A stream that has to be cut short ends without its last chunk."
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
    *(INVALID, TAKEN, REJECTED, LIMITED, STOPPED),
    request=sent.ExecuteSerializer,
    examples={
        "A market order": examples.MARKET,
        "A market order for an exact amount": examples.EXACT,
        "A limit order": examples.LIMIT,
        "A sniper order": examples.SNIPER,
    },
    parameters=[IDEMPOTENCY_KEY, REPLAYED],
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
    *(BAD_BATCH, LIMITED, STOPPED),
    request=sent.BatchSerializer,
    examples={"Two orders": examples.BATCH},
    parameters=[REPLAYED],
)
list_orders = operation(
    "list_orders",
    "List orders",
    {
        200: answer(read.Orders, LISTED),
        (200, order_csv.CSV): OpenApiResponse(str, examples=[OpenApiExample("A limit order that rests", CSV)]),
    },
    *(BAD_PARAMETER, EXPORTING),
    parameters=[
        OpenApiParameter("format", str, enum=list(FORMATS), description=ACCEPTED["format"]),
        OpenApiParameter(
            "status", {"type": "array", "items": reference("OrderStatus")}, description=ACCEPTED["status"]
        ),
        OpenApiParameter("type", reference("OrderType"), description=ACCEPTED["type"]),
        OpenApiParameter("pair", PAIR_SCHEMA, description=ACCEPTED["pair"]),
        OpenApiParameter(
            "clientOrderId", {"type": "string", "pattern": CLIENT_ORDER_ID}, description="The order of this name."
        ),
        OpenApiParameter("createdAfter", TIMES, description="At or after this time."),
        OpenApiParameter("createdBefore", TIMES, description="Before this time."),
        OpenApiParameter(
            "limit",
            # Without a default: generated clients would send it, also with `format=csv`, which takes no `limit`.
            {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX},
            description=f"Orders on a page; {OrderPages.page_size} if omitted.  JSON only: CSV has all orders.",
        ),
        OpenApiParameter("cursor", {"type": "string", "pattern": CURSOR}, description=ACCEPTED["cursor"]),
    ],
)
cancel_orders = operation(
    "cancel_orders",
    "Cancel all resting orders, of a pair or of every pair",
    {
        200: answer(
            read.Cancelled,
            "How many orders were cancelled.",
            {"All are cancelled": {"pair": "SOL-USDC", "cancelled": 12, "lost": 0, "complete": True}},
        )
    },
    NO_PAIR_NAMED,
    parameters=[
        OpenApiParameter(
            "pair",
            PAIR_SCHEMA | {"pattern": read.CANCELLED_PAIR, "minLength": 1},
            required=True,
            description=CANCELLED_PAIR,
        ),
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
    *(OFF_TICK, NO_ORDER, NOT_RESTING, CHANGED, REJECTED, UNCONDITIONAL, STOPPED),
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
list_pairs = operation("list_pairs", "List the traded pairs", {200: answer(market.Pairs)}, BAD_PARAMETER)
make_ticket = operation(
    "make_ticket",
    "Make a ticket for a socket",
    {201: answer(read.Ticket, "The ticket.", {"A ticket": examples.TICKET})},
    BAD_PARAMETER,
    request=None,
)
