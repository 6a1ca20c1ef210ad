"""What happens to an order, one frozen value for each kind of event."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from .errors import Unreadable
from .reading import Value, read
from .words import FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Value):
    """One event of an order; of a kind this client does not know, when it is no other class.

    `epoch` and `seq` together name an event for good.  An epoch ends when the engine loses Redis; 0 is the oldest, and
    what an engine that knows of none is taken to be in.
    """

    order_id: str
    epoch: int = 0
    seq: int
    status: str
    at: datetime
    attempt: int

    @property
    def final(self) -> bool:
        """Tell whether it is the order's last."""
        return self.status in FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound(Value):
    """The engine lost what it had told past event `to`: drop those events, others follow event `to` in their place."""

    order_id: str
    to: int = field(metadata={"spelled": "rewoundTo"})
    epoch: int
    reason: str = ""


Message = Event | Rewound
"""What a stream of an order's events yields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitsFor(Value):
    """A condition of a sniper order, in US dollars; `value` is what the market had of it."""

    kind: str
    at_least: Decimal | None = None
    window_s: int | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending(Event):
    """The order was accepted: what was asked, and by when a market order ends."""

    type: str
    pair: str
    amount_in: Decimal
    slippage_bps: int
    limit_price: Decimal | None = None
    max_price: Decimal | None = None
    time_in_force: str | None = None
    expires_at: datetime | None = None
    trigger: tuple[WaitsFor, ...] = ()
    allow_unknown: bool = False
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended(Event):
    """A resting order was changed: from what, to what."""

    amended: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Value):
    """What went wrong, and how long until the next try or trigger."""

    code: str
    message: str
    in_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned(Event):
    """An order that had fired rests again."""

    returned: Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceReached(Value):
    """The price that reached a limit, and for how many polls it had held."""

    venue: str
    price: Decimal
    limit_price: Decimal | None
    observed_at: datetime
    age_ms: int
    polls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketMoved(Value):
    """What a token's market showed; `event` is none for conditions that held from the start."""

    event: Mapping[str, Any] | None
    conditions: tuple[WaitsFor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Value):
    """How a gate judged a token."""

    gate: str
    value: str | None
    source: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggered(Event):
    """A waiting order fired, on this evidence."""

    trigger: PriceReached | MarketMoved
    gates: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer(Value):
    """A venue's quote and what it pays for this order."""

    venue: str
    price: Decimal
    fee_bps: int
    net_price: Decimal
    age_ms: int
    amount_out: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed(Event):
    """A venue was chosen."""

    venue: str
    reason: str
    source: str
    quotes: tuple[Offer, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying(Event):
    """A try failed, and another comes."""

    retry: Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Building(Event):
    """What the order expects, and the least it accepts."""

    venue: str
    expected_out: Decimal
    minimum_out: Decimal
    quoted_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(Event):
    """A transaction is on its way."""

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
    """What was got; `slippage_bps` below 0 is better than quoted."""

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
    """Why it failed, and whether a replay may help."""

    code: str
    message: str
    replay_may_help: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Event):
    """Who or what cancelled it."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(Event):
    """The time that has passed."""

    reason: str
    expires_at: datetime


KINDS: Mapping[str, type[Event]] = {
    "retry": Retrying,
    "amended": Amended,
    "returned": Returned,
    "pending": Pending,
    "triggered": Triggered,
    "routing": Routed,
    "building": Building,
    "submitted": Submitted,
    "confirmed": Confirmed,
    "failed": Failed,
    "cancelled": Cancelled,
    "expired": Expired,
}
"""By the fact that tells what happened within a status, else by the status."""


def message_of(data: Any) -> Message:
    """Read a message of an order's stream.

    Raises Unreadable.
    """
    return read(Rewound, data) if "rewoundTo" in data else event_of(data)


def event_of(data: Any) -> Event:
    """Read an event; one of a kind or a shape that came after this client keeps its facts as they are.

    Raises Unreadable for what is no event at all.
    """
    event = read(Event, data)
    telling = next((name for name in ("retry", "amended", "returned") if name in data), event.status)
    try:
        return read(KINDS.get(telling, Event), data)
    except Unreadable:
        return event
