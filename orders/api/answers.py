"""What the API answers, one class for each answer; its description and the client's classes follow from these."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from engine.event_kinds import (
    Conditions,
    Count,
    Deadline,
    Decimals,
    Id,
    Moment,
    Offer,
    PairName,
    Signature,
    TokenCheck,
    Value,
    Venue,
)
from engine.lifecycle import Status
from engine.orders import SLIPPAGE_MAX_BPS, OrderType, TimeInForce
from engine.triggers import WINDOW_MAX_S
from orders.api.cursors import POSITION
from orders.api.error_codes import CODES, MEANINGS
from orders.api.errors import SHOWN_MAX
from orders.api.fields import CLIENT_ORDER_ID
from orders.api.paging import CURSOR
from routing.models import MINT_MAX

Url = Annotated[str, Meta(extra_json_schema={"format": "uri"})]
SocketUrl = Annotated[str, Meta(pattern=r"^wss?://[^/]+/ws/[0-9a-f-]{36}$")]
TokenName = Annotated[str, Meta(min_length=1, max_length=MINT_MAX)]
ClientOrderId = Annotated[str, Meta(pattern=CLIENT_ORDER_ID)]
Slippage = Annotated[int, Meta(ge=0, le=SLIPPAGE_MAX_BPS)]
Above0 = Annotated[int, Meta(ge=1)]
Shown = Annotated[str, Meta(max_length=SHOWN_MAX)]
Words = Annotated[str, Meta(min_length=1)]
Position = Annotated[str, Meta(pattern=POSITION)]
Cursor = Annotated[str, Meta(pattern=CURSOR)]
CANCELLED_PAIR = r"^(\*|[^/\x00-\x1f-]+-[^/\x00-\x1f]+)$"
Result = Annotated[Any, Meta(extra_json_schema={"$ref": "#/components/schemas/Result"})]


class Links(Value, frozen=True):
    """Where to go on from here."""

    self: Url
    events: Url
    ws: Annotated[SocketUrl, Meta(description="WebSocket that streams the order's events from the first.")]


class Accepted(Value, frozen=True):
    """An accepted order."""

    order_id: Id
    status: Status
    created_at: Moment
    links: Links


class Ticket(Value, frozen=True):
    """What opens one socket, once."""

    ticket: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}$")]
    expires_at: Moment


class FieldError(Value, frozen=True):
    """What is wrong with one field."""

    field: Shown
    value: Shown | None
    message: Words
    accepted: Words


class ErrorBody(Value, frozen=True):
    """What went wrong."""

    code: Annotated[str, Meta(description=MEANINGS, extra_json_schema={"enum": list(CODES)})]
    message: Words
    fields: tuple[FieldError, ...]


class Error(Value, frozen=True):
    """Every error of this API."""

    error: ErrorBody


class Events(Value, frozen=True):
    """An order's events, oldest first."""

    order_id: Id
    rewound_to: Annotated[Above0 | None, Meta(description="Events after this seq were withdrawn.")]
    events: Annotated[list[Any], Meta(extra_json_schema={"items": {"$ref": "#/components/schemas/Event"}})]


class AllEvents(Value, frozen=True):
    """Events of all orders of the caller, each order's together and in sequence."""

    results: Annotated[list[Any], Meta(extra_json_schema={"items": {"$ref": "#/components/schemas/Event"}})]
    cursor: Annotated[Position, Meta(description="What to send as `after` next time, here or on `/ws/orders`.")]
    next: Annotated[Url | None, Meta(description="The page after this one; null if there is none yet.")]


class ConditionSeen(Value, frozen=True):
    """A condition and what the market shows of it."""

    kind: Literal["launch", "liquidity", "volume"]
    value: str
    met: bool
    at_least: Decimals | UnsetType = UNSET
    window_s: Annotated[int, Meta(ge=1, le=WINDOW_MAX_S)] | UnsetType = UNSET


class Resting(Value, frozen=True):
    """What an order that waits is waiting beside."""

    best: Annotated[Decimals | None, Meta(description="BEST: the best price after fee in the venues' last quotes.")]
    age_ms: Annotated[Count | UnsetType | None, Meta(description="Its age; limit orders only.")] = UNSET
    away_bps: Annotated[
        Decimals | UnsetType | None,
        Meta(description="How far BEST must rise to the limit price, in bps; 0 once reached; limit orders only."),
    ] = UNSET
    conditions: Annotated[
        tuple[ConditionSeen, ...] | UnsetType | None,
        Meta(description="Sniper orders only: the trigger by the market; null while that is not known."),
    ] = UNSET


EXACT = "For market orders that buy an exact amount of tokenOut: that amount; `amount` is the most they spend."


class Order(Value, frozen=True):
    """An order as it stands; a term that its type does not have is null."""

    order_id: Id
    client_order_id: ClientOrderId | None
    type: OrderType
    pair: PairName
    token_in: TokenName
    token_out: TokenName
    amount: Decimals
    amount_out: Annotated[Decimals | None, Meta(description=EXACT)]
    slippage_bps: Slippage
    deadline: Deadline | None
    limit_price: Decimals | None
    max_price: Decimals | None
    time_in_force: TimeInForce | None
    expires_at: Moment | None
    trigger: Conditions | None
    allow_unknown: bool | None
    status: Status
    seq: Above0
    epoch: Count
    attempt: Count
    created_at: Moment
    updated_at: Moment
    venue: Venue | None
    tx_hash: Signature | None
    result: Result
    replay_of: Id | None
    resting: Annotated[Resting | None, Meta(description="For a resting order; null once it has fired or ended.")]
    links: Links


class EstimatedFill(Value, frozen=True):
    """What an order would get this moment."""

    venue: Venue
    reason: Annotated[str, Meta(description="Why this venue was chosen.")]
    price: Annotated[Decimals, Meta(description="The venue's price before its fee.")]
    fee_bps: Count
    fee: Annotated[Decimals, Meta(description="In tokenIn.")]
    expected_price: Annotated[Decimals, Meta(description="tokenOut per tokenIn, after fee and impact.")]
    expected_in: Annotated[Decimals, Meta(description="What it would sell: for an exact amountOut at most `amount`.")]
    maximum_in: Annotated[Decimals, Meta(description="The most it would sell, by slippage and `amount`.")]
    expected_out: Decimals
    minimum_out: Annotated[Decimals, Meta(description="The minimum accepted, by slippage and the order's own price.")]
    impact_bps: Annotated[Decimals, Meta(description="Price impact of the order's own size, in bps.")]
    age_ms: Annotated[Count, Meta(description="Age of the quote.")]
    fresh: Annotated[bool, Meta(description="Whether the order would be routed on this quote immediately.")]
    quotes: Annotated[tuple[Offer, ...], Meta(description="The offers compared, best first.")]


class EstimatedLimit(Value, frozen=True):
    """Where a limit price is beside BEST."""

    limit_price: Decimals
    best: Decimals | None
    age_ms: Count | None
    away_bps: Annotated[Decimals | None, Meta(description="How far BEST must rise, in bps; 0 once reached.")]
    least_out: Annotated[Decimals, Meta(description="The minimum amount out of any fill.")]


class EstimatedSniper(Value, frozen=True):
    """What is known of the token a sniper order waits for."""

    listed: Annotated[bool, Meta(description="Whether the token is in the catalogue.")]
    conditions: tuple[ConditionSeen, ...]
    gates: tuple[TokenCheck, ...]


class Problem(Value, frozen=True):
    """What would keep an order from being filled."""

    code: Literal["no_quote", "cannot_fill", "price_impact", "maximum_exceeded"]
    message: str


class Estimate(Value, frozen=True):
    """What an order would get, were it placed now."""

    type: OrderType
    pair: PairName
    token_in: TokenName
    token_out: TokenName
    amount: Decimals
    amount_out: Annotated[Decimals | None, Meta(description=EXACT)]
    slippage_bps: Slippage
    fill: EstimatedFill | None
    limit: Annotated[EstimatedLimit | None, Meta(description="For limit orders.")]
    sniper: Annotated[EstimatedSniper | None, Meta(description="For sniper orders.")]
    problem: Problem | None


class Orders(Value, frozen=True):
    """A page of orders, newest first."""

    next: Annotated[Url | None, Meta(description="The page after this one; null on the last.")]
    previous: Url | None
    next_cursor: Annotated[Cursor | None, Meta(description="The `cursor` of the page after this one.")]
    previous_cursor: Cursor | None
    results: tuple[Order, ...]


class Cancelled(Value, frozen=True):
    """What became of the resting orders of a pair, or of every pair."""

    pair: Annotated[str, Meta(pattern=CANCELLED_PAIR, description="As asked for: a pair, or * for all.")]
    cancelled: Annotated[Count, Meta(description="Orders this request cancelled.")]
    lost: Annotated[Count, Meta(description="Orders that fired or ended before they could be cancelled.")]
    complete: Annotated[bool, Meta(description="Whether all orders were processed; if not, repeat the request.")]


class Verdict(Value, frozen=True):
    """What became of one order of a batch: `order` when its status is 202, else `error`."""

    status: Annotated[
        Literal[202, 400, 409, 422, 429, 503], Meta(description="The status this order would get on its own.")
    ]
    order: Accepted | UnsetType = UNSET
    error: ErrorBody | UnsetType = UNSET


class Verdicts(Value, frozen=True):
    """What became of a batch, order by order."""

    results: tuple[Verdict, ...]
    accepted: Count
    refused: Count


class Health(Value, frozen=True):
    """The process lives."""

    status: Literal["ok"]


class Parts(Value, frozen=True):
    """ "ok", or why a part is not well."""

    postgres: Annotated[str, Meta(description="Without it no order can be accepted: 503.")]
    redis: Annotated[str, Meta(description="Without it orders are accepted and wait: degraded.")]
    quotes: Annotated[str, Meta(description="Whether every venue quotes; if not, orders may wait: degraded.")]
    workers: Annotated[str, Meta(description="Whether every queue has a live worker; if not: degraded.")]


class Ready(Value, frozen=True):
    """The process can do its work; `degraded` when something that orders can wait for is missing."""

    status: Literal["ready", "degraded"]
    parts: Parts


class NotReady(Value, frozen=True):
    """Postgres is away, as the error says.  `parts` is absent when there was no time to try them."""

    error: ErrorBody
    parts: Parts | UnsetType = UNSET


ANSWERS = (
    *(Accepted, Error, Events, AllEvents, Order, Orders, Cancelled, Verdicts, Estimate, Ticket, Health, Ready),
    NotReady,
)
"""The answers; the others are within them."""
