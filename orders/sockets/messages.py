"""The messages that only the sockets use: a pair's market, and orders to follow."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from engine.event_kinds import Count, Decimals, Id, Moment, PairName, Signature, Value, Venue
from orders.api.answers import Above0, Position
from orders.models import PauseState, Scope
from orders.sockets.asking import ASKED_MAX, SEQ_MAX

Seq = Annotated[int, Meta(ge=0, le=SEQ_MAX)]
FAILING = "failing"
"""The state of a venue that is left out because its breaker is open."""


class Message(Struct, frozen=True, rename="camel"):
    """What only a socket says; newer engines may state more."""


class QuoteSeen(Message, frozen=True):
    """A venue's quote."""

    venue: Venue
    price: Decimals
    fee_bps: int
    net_price: Annotated[Decimals, Meta(description="The price less the fee.")]
    age_ms: Count


class Level(Message, frozen=True):
    """A price at which orders rest."""

    price: Decimals
    orders: Above0


class Fill(Message, frozen=True):
    """A trade that the chain executed."""

    tx_hash: Signature
    at: Moment
    venue: Venue
    price: Decimals
    amount_in: Decimals
    amount_out: Decimals


class Stop(Message, frozen=True):
    """A pause, a halt or `reducing` by an operator, or a venue that is `failing` and left out for a while.

    Those of a user or a key are told to them alone.
    """

    scope: Annotated[str, Meta(extra_json_schema={"enum": list(Scope)})]
    name: Annotated[str, Meta(description="The pair, venue, user or key; empty when the scope is everything.")]
    state: Annotated[str, Meta(extra_json_schema={"enum": [*PauseState, FAILING]})]
    message: Annotated[str, Meta(description="A sentence that says what is stopped, and why.")]
    reason: Annotated[str | UnsetType, Meta(description="Why; the message ends with it.")] = UNSET
    since: Moment | UnsetType = UNSET


class Prices(Message, frozen=True, kw_only=True):
    """Quotes, BEST and how far the venues are apart."""

    at: Moment
    quotes: tuple[QuoteSeen, ...]
    best: QuoteSeen | None
    spread_bps: Annotated[
        Decimals | None,
        Meta(description="The dearest venue's price less fee above the cheapest's; null with fewer than two."),
    ]
    fresh_ms: Annotated[int, Meta(description="Age up to which BEST is routed on at once.")]
    stale_ms: Annotated[int, Meta(description="Age up to which a quote may still be used.")]


class Snapshot(Prices, frozen=True, kw_only=True, tag_field="kind", tag="snapshot"):
    """All that is known of the pair; the first message."""

    pair: PairName
    token_in: str
    token_out: str
    tick: Annotated[Decimals, Meta(description="Limit prices of this pair are multiples of this.")]
    venues: tuple[str, ...]
    levels: Annotated[tuple[Level, ...], Meta(description="The nearest first.")]
    fills: Annotated[tuple[Fill, ...], Meta(description="The last ones, the newest first.")]
    stops: Annotated[tuple[Stop, ...], Meta(description="What stops the pair, or a venue it is traded on.")]


class Update(Prices, frozen=True, kw_only=True, tag_field="kind", tag="update"):
    """What has changed since the last message; prices always, the rest only when it is new."""

    levels: Annotated[tuple[Level, ...] | UnsetType, Meta(description="All of them, when any has changed.")] = UNSET
    fills: Annotated[tuple[Fill, ...] | UnsetType, Meta(description="Those that are new.")] = UNSET
    stops: Annotated[tuple[Stop, ...] | UnsetType, Meta(description="All of them, when any has changed.")] = UNSET


class Followed(Value, frozen=True):
    """An order to follow, with the seq and the epoch of the last event seen."""

    order_id: Id
    after: Annotated[Seq, Meta(description="0 when it is left out.")] = 0
    epoch: Seq | UnsetType | None = UNSET


class Follow(Message, frozen=True):
    """Orders to follow and to let go; with neither it only asks for the answer."""

    follow: Annotated[tuple[Followed, ...], Meta(max_length=ASKED_MAX)] | UnsetType = UNSET
    unfollow: Annotated[tuple[Id, ...], Meta(max_length=ASKED_MAX)] | UnsetType = UNSET


class FollowAll(Message, frozen=True):
    """Every order of the caller to follow, the present and the future ones."""

    follow: Literal["all"]
    after: Annotated[
        Position | UnsetType,
        Meta(description="The last cursor received, here or from GET /api/events; 0 for all that is kept; else now."),
    ] = UNSET


class UnfollowAll(Message, frozen=True):
    """Every order that is followed as one of all, to let go."""

    unfollow: Literal["all"]


class Reached(Message, frozen=True):
    """Every event up to here has been sent; whoever reconnects with it gets the others."""

    cursor: Position


class Rewound(Message, frozen=True):
    """Events past a seq belong to the order no longer: Redis was lost before they were saved.

    Drop them; what follows comes after that seq.
    """

    order_id: Id
    rewound_to: Annotated[Above0, Meta(description="The last seq that still stands.")]
    epoch: Annotated[Count, Meta(description="The epoch to come back with, beside that seq.")]
    reason: str


class Following(Message, frozen=True):
    """How many orders are followed now."""

    following: Count
