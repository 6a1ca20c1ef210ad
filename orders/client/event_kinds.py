"""What happens to an order, one frozen class for each kind of event.

Written by `python -m orders.api.client_kinds` from the engine's `event_kinds`: change those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from .event import Event, WaitsFor
from .reading import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending(Event):
    """The order was accepted: what was asked."""

    type: str
    pair: str
    amount_in: Decimal
    slippage_bps: int
    deadline: datetime | None = None
    limit_price: Decimal | None = None
    max_price: Decimal | None = None
    time_in_force: str | None = None
    expires_at: datetime | None = None
    trigger: tuple[WaitsFor, ...] | None = None
    allow_unknown: bool = False
    amount_out: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Value):
    """A term's value before and after an amendment."""

    from_: str | None = field(metadata={"spelled": "from"})
    to: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended(Event):
    """A resting order was changed."""

    amended: Mapping[str, Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(Value):
    """What went wrong, and how long until the next try."""

    code: str
    message: str
    in_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned(Event):
    """An order that had fired rests again."""

    returned: Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSeen(Value):
    """The price that reached the limit."""

    kind: str
    venue: str
    price: Decimal
    limit_price: Decimal
    observed_at: datetime
    age_ms: int
    polls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketEvent(Value):
    """What happened to the token."""

    id: str
    kind: str
    venue: str
    usd: Decimal
    at: datetime
    age_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionMet(Value):
    """A condition, and what the market had of it."""

    kind: str
    value: str
    at_least: Decimal | None = None
    window_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSeen(Value):
    """The market event that completed the conditions; null when they held as the order was armed."""

    kind: str
    event: MarketEvent | None
    conditions: tuple[ConditionMet, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCheck(Value):
    """The result of one token check."""

    gate: str
    value: str | None
    source: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggered(Event):
    """A waiting order fired."""

    trigger: PriceSeen | MarketSeen
    gates: tuple[TokenCheck, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer(Value):
    """A venue's quote as it stood when it was used."""

    venue: str
    price: Decimal
    fee_bps: int
    net_price: Decimal
    age_ms: int
    amount_out: Decimal
    amount_in: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing(Event):
    """A venue was chosen."""

    venue: str
    reason: str
    source: str
    quotes: tuple[Offer, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry(Event):
    """A try failed, and another comes."""

    retry: Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Building(Event):
    """The transaction is being built."""

    venue: str
    expected_out: Decimal
    minimum_out: Decimal
    quoted_price: Decimal
    expected_in: Decimal | None = None
    maximum_in: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(Event):
    """The transaction is on its way."""

    venue: str
    tx_hash: str
    last_valid_block_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees(Value):
    """What a fill cost."""

    venue_fee_bps: int
    venue_fee: Decimal
    venue_fee_token: str
    network_fee_lamports: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed(Event):
    """The order is filled; the last event."""

    venue: str
    tx_hash: str
    slot: int
    amount_in: Decimal
    amount_out: Decimal
    executed_price: Decimal
    slippage_bps: Decimal
    fees: Fees


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """The order failed for good; the last event."""

    code: str
    message: str
    replay_may_help: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Event):
    """The order was cancelled; the last event."""

    reason: str
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(Event):
    """The order's time has passed; the last event."""

    reason: str
    expires_at: datetime


KINDS: Mapping[str, type[Event]] = {
    "pending": Pending,
    "amended": Amended,
    "returned": Returned,
    "triggered": Triggered,
    "routing": Routing,
    "retry": Retry,
    "building": Building,
    "submitted": Submitted,
    "confirmed": Confirmed,
    "failed": Failed,
    "cancelled": Cancelled,
    "expired": Expired,
}
