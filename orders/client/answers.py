"""What the engine answers, as frozen values; every price and amount a decimal, in whole tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from .event import Event, WaitsFor
from .event_kinds import Offer, TokenCheck
from .events import event_of
from .reading import Value, read
from .words import FINAL, OrderType


@dataclass(frozen=True, slots=True, kw_only=True)
class Links(Value):
    """Where to go on from an order."""

    self: str
    ws: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed(Value):
    """An accepted order; one that was sent before stands as it is by now."""

    order_id: str
    status: str
    created_at: datetime
    links: Links


@dataclass(frozen=True, slots=True, kw_only=True)
class Resting(Value):
    """What an order that waits is waiting beside."""

    best: Decimal | None
    age_ms: int | None = None
    away_bps: Decimal | None = None
    conditions: tuple[WaitsFor, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Value):
    """An order as it stood when it was asked for; a term that its type does not have is none."""

    order_id: str
    client_order_id: str | None
    type: str
    pair: str
    token_in: str
    token_out: str
    amount: Decimal
    amount_out: Decimal | None = None
    slippage_bps: int
    limit_price: Decimal | None
    max_price: Decimal | None
    time_in_force: str | None
    expires_at: datetime | None
    trigger: tuple[WaitsFor, ...] | None
    allow_unknown: bool | None
    deadline: datetime | None = None
    status: str
    epoch: int = 0
    seq: int
    attempt: int
    created_at: datetime
    updated_at: datetime
    venue: str | None
    tx_hash: str | None
    result: Mapping[str, Any]
    replay_of: str | None
    resting: Resting | None
    links: Links

    @property
    def final(self) -> bool:
        """Tell whether it has ended."""
        return self.status in FINAL

    @property
    def waits(self) -> bool:
        """Tell whether it may rest for long before anything happens."""
        return self.type != OrderType.MARKET


@dataclass(frozen=True, slots=True, kw_only=True)
class Events(Value):
    """What has happened to an order past some event, and back to which event what was told before is withdrawn."""

    order_id: str
    rewound_to: int | None = None
    events: tuple[Event, ...]

    def onto(self, held: Sequence[Event]) -> tuple[Event, ...]:
        """Return what was held before, less what is withdrawn, and then these: the order's history."""
        return (*held[: self.rewound_to], *self.events)


def events_of(data: Any) -> Events:
    """Read an answer, with each event of its own kind.

    Raises Unreadable.
    """
    return replace(read(Events, data), events=tuple(map(event_of, data["events"])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Value):
    """Orders, newest first, and the address of those after them."""

    next: str | None
    results: tuple[Order, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledAll(Value):
    """What became of a pair's resting orders; `complete` unless there were too many for one request."""

    pair: str
    cancelled: int
    lost: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(Value):
    """A token."""

    symbol: str
    mint: str
    decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Value):
    """A pair that is traded, in this direction."""

    pair: str
    token_in: Token
    token_out: Token
    tick: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs(Value):
    """What is traded."""

    results: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedFill(Value):
    """What an order would get this moment."""

    venue: str
    reason: str
    price: Decimal
    fee_bps: int
    fee: Decimal
    expected_price: Decimal
    expected_in: Decimal
    maximum_in: Decimal
    expected_out: Decimal
    minimum_out: Decimal
    impact_bps: Decimal
    age_ms: int
    fresh: bool
    quotes: tuple[Offer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedLimit(Value):
    """Where a limit price is beside BEST."""

    limit_price: Decimal
    best: Decimal | None
    age_ms: int | None
    away_bps: Decimal | None
    least_out: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedSniper(Value):
    """What is known of the token a sniper order waits for."""

    listed: bool
    conditions: tuple[WaitsFor, ...]
    gates: tuple[TokenCheck, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(Value):
    """What would keep an order from being filled."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate(Value):
    """What an order would get, were it placed now."""

    type: str
    pair: str
    amount: Decimal
    amount_out: Decimal | None = None
    slippage_bps: int
    fill: EstimatedFill | None
    limit: EstimatedLimit | None
    sniper: EstimatedSniper | None
    problem: Problem | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote(Value):
    """A venue's quote of a pair."""

    venue: str
    price: Decimal
    fee_bps: int
    net_price: Decimal
    age_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle(Value):
    """The prices after fee of one interval that begins at `at`, and the number of quotes they were made of."""

    at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    quotes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candles(Value):
    """The recorded prices of a pair at one venue, or of BEST, oldest first; intervals without a quote are left out."""

    pair: str
    venue: str
    interval: str
    candles: tuple[Candle, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level(Value):
    """A price at which orders rest, and how many."""

    price: Decimal
    orders: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill(Value):
    """A trade that the chain executed."""

    order_id: str
    at: datetime
    venue: str
    price: Decimal
    amount_in: Decimal
    amount_out: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Market(Value):
    """A pair at one moment: the venues' quotes, BEST, the nearest resting levels, and fills that are new."""

    at: datetime
    quotes: tuple[Quote, ...]
    best: Quote | None
    spread_bps: Decimal | None
    levels: tuple[Level, ...] = ()
    fills: tuple[Fill, ...] = ()
