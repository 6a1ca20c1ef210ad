"""Every kind of event clients receive, with the meaning of each field.

To add a kind, add a class here: its name in lower case is the kind on the wire.  orders/README.md lists the other files
that name kinds, under "How to".

This is the only definition of an event's shape: the stores' codec, the API's descriptions and the client's classes
follow from it.  An event is a `Head` and the fields of its kind, in one JSON object.  Amounts and prices are decimal
strings in whole tokens, times are RFC 3339 in UTC.
"""

from typing import Annotated, Any, ClassVar, Literal, get_args

from msgspec import Meta, Struct

from engine.lifecycle import Status
from engine.orders import OrderType, TimeInForce

Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
DECIMALS = r"^-?[0-9]+(\.[0-9]+)?$"
Decimals = Annotated[str, Meta(pattern=DECIMALS, examples=["154.8896"])]
Signature = Annotated[str, Meta(pattern="^[1-9A-HJ-NP-Za-km-z]{64,88}$")]
Count = Annotated[int, Meta(ge=0)]
Deadline = Annotated[
    Moment,
    Meta(
        description="For market orders: once it has passed, the order fails if a worker takes it up before any try has "
        "counted, or if a try finds the venues or the chain away."
    ),
]
# What these hold is known further out: the title names its description there.
Venue = Annotated[str, Meta(title="Venue")]
PairName = Annotated[str, Meta(title="PairName")]
Conditions = Annotated[list[dict[str, Any]], Meta(title="Conditions")]


class Head(Struct, frozen=True, rename="camel"):
    """The fields of every event."""

    # The order of the first fields is fixed: some readers find them by position.
    order_id: Id
    epoch: Annotated[int, Meta(ge=0, description="Increases when Redis loses data; never decreases as seq increases.")]
    seq: Annotated[int, Meta(ge=1, description="1, 2, 3 ... without gaps.")]
    status: Status
    at: Moment
    attempt: Annotated[int, Meta(ge=0, description="0 until the first try.")]


class Value(Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """An object within an event."""


class Facts(Struct, frozen=True, rename="camel", omit_defaults=True, tag_field="kind", tag=str.lower):
    """What an event of one kind states.  A field with its default is left out."""

    status: ClassVar[Status]
    """The order's status after an event of this kind."""


class Pending(Facts, frozen=True):
    """The order was accepted: what was asked."""

    status = Status.PENDING

    type: OrderType
    pair: PairName
    amount_in: Annotated[Decimals, Meta(description="tokenIn to sell, in whole tokens; with amountOut the maximum.")]
    slippage_bps: Count
    deadline: Deadline | None = None
    limit_price: Annotated[Decimals, Meta(description="For limit orders: minimum tokenOut per tokenIn.")] | None = None
    max_price: Annotated[Decimals, Meta(description="For sniper orders: the maximum tokenIn per tokenOut.")] | None = (
        None
    )
    time_in_force: TimeInForce | None = None
    expires_at: Moment | None = None
    trigger: Annotated[Conditions, Meta(description="For sniper orders.")] | None = None
    allow_unknown: bool = False
    amount_out: Annotated[Decimals | None, Meta(description="tokenOut to buy exactly, in whole tokens.")] = None


Term = Literal["amountIn", "limitPrice", "maxPrice", "expiresAt"]
AMENDABLE: tuple[Term, ...] = get_args(Term)
"""Facts of `pending` that an amendment may change."""


class Change(Value, frozen=True, rename={"from_": "from"}):
    """A term's value before and after an amendment."""

    from_: str | None
    to: str | None


class Amended(Facts, frozen=True):
    """A resting order was changed."""

    status = Status.PENDING

    amended: Annotated[
        dict[Term, Change],
        Meta(
            min_length=1,
            description="Each changed term, with its old and new value.",
            extra_json_schema={"propertyNames": {"enum": list(AMENDABLE)}},
        ),
    ]


class Wait(Value, frozen=True):
    """What went wrong, and how long until the next try."""

    code: str
    message: str
    in_ms: Count


class Returned(Facts, frozen=True):
    """An order that had fired rests again."""

    status = Status.PENDING

    returned: Annotated[Wait, Meta(description="Why it returned, and how long it cannot fire.")]


class PriceSeen(Value, frozen=True, tag_field="kind", tag="price"):
    """The price that reached the limit."""

    venue: Venue
    price: Annotated[Decimals, Meta(description="BEST: the price less the venue's fee.")]
    limit_price: Decimals
    observed_at: Moment
    age_ms: Count
    polls: Annotated[int, Meta(ge=1, description="The number of polls the price had held.")]


class MarketEvent(Value, frozen=True):
    """What happened to the token."""

    id: str
    kind: str
    venue: str
    usd: Decimals
    at: Moment
    age_ms: Count


class ConditionMet(Value, frozen=True):
    """A condition, and what the market had of it."""

    kind: str
    value: str
    at_least: Decimals | None = None
    window_s: int | None = None


class MarketSeen(Value, frozen=True, tag_field="kind", tag="market"):
    """The market event that completed the conditions; null when they held as the order was armed."""

    event: MarketEvent | None
    conditions: tuple[ConditionMet, ...]


class TokenCheck(Value, frozen=True):
    """The result of one token check."""

    gate: str
    value: str | None
    source: str
    verdict: Literal["pass", "refuse"]
    reason: str


class Triggered(Facts, frozen=True):
    """A waiting order fired."""

    status = Status.TRIGGERED

    trigger: Annotated[PriceSeen | MarketSeen, Meta(description="The price, or the market event with each condition.")]
    gates: Annotated[tuple[TokenCheck, ...], Meta(description="For sniper orders.")] = ()


class Offer(Value, frozen=True):
    """A venue's quote as it stood when it was used."""

    venue: Venue
    price: Decimals
    fee_bps: int
    net_price: Annotated[Decimals, Meta(description="The price less the fee.")]
    age_ms: Count
    amount_out: Annotated[Decimals, Meta(description="The amount paid out for this order, after fee and impact.")]
    amount_in: Annotated[Decimals | None, Meta(description="For an exact amountOut: what it takes for that.")] = None


class Routing(Facts, frozen=True):
    """A venue was chosen."""

    status = Status.ROUTING

    venue: Venue
    reason: Annotated[str, Meta(description="Why this venue was chosen.")]
    source: Annotated[str, Meta(description="Where the quotes came from.")]
    quotes: Annotated[tuple[Offer, ...], Meta(description="The offers compared, best first.")]
    missing: Annotated[tuple[str, ...], Meta(description="Venues without a usable quote.")]


class Retry(Facts, frozen=True):
    """A try failed, and another comes."""

    status = Status.ROUTING

    retry: Annotated[Wait, Meta(description="What went wrong, and when the next try starts.")]


class Building(Facts, frozen=True):
    """The transaction is being built."""

    status = Status.BUILDING

    venue: Venue
    expected_out: Decimals
    minimum_out: Annotated[Decimals, Meta(description="The minimum the order accepts.")]
    quoted_price: Decimals
    expected_in: Annotated[Decimals | None, Meta(description="For an exact amountOut: what it is to take.")] = None
    maximum_in: Annotated[Decimals | None, Meta(description="For an exact amountOut: the maximum it spends.")] = None


class Submitted(Facts, frozen=True):
    """The transaction is on its way."""

    status = Status.SUBMITTED

    venue: Venue
    tx_hash: Signature
    last_valid_block_height: Annotated[int, Meta(description="The block height up to which it can land.")]


class Fees(Value, frozen=True):
    """What a fill cost."""

    venue_fee_bps: int
    venue_fee: Decimals
    venue_fee_token: str
    network_fee_lamports: int


class Confirmed(Facts, frozen=True):
    """The order is filled; the last event."""

    status = Status.CONFIRMED

    venue: Venue
    tx_hash: Signature
    slot: int
    amount_in: Annotated[Decimals, Meta(description="What was sold.")]
    amount_out: Decimals
    executed_price: Annotated[Decimals, Meta(description="tokenOut per tokenIn.")]
    slippage_bps: Annotated[Decimals, Meta(description="Against the quote; negative if better than quoted.")]
    fees: Fees


class Failed(Facts, frozen=True):
    """The order failed for good; the last event."""

    status = Status.FAILED

    code: str
    message: str
    replay_may_help: bool


class Cancelled(Facts, frozen=True):
    """The order was cancelled; the last event."""

    status = Status.CANCELLED

    reason: str
    code: (
        Annotated[
            str,
            Meta(
                description="If the engine cancelled it: `halted` when an operator halted trading, or the failure that "
                "ended an `ioc` order."
            ),
        ]
        | None
    ) = None


class Expired(Facts, frozen=True):
    """The order's time has passed; the last event."""

    status = Status.EXPIRED

    reason: str
    expires_at: Moment


KINDS: dict[str, type[Facts]] = {kind.__name__.lower(): kind for kind in Facts.__subclasses__()}
"""Every kind by its name on the wire."""
