"""All that the checker judges by, as plain values."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

Json = dict[str, Any]

FINAL = frozenset({"confirmed", "failed", "cancelled", "expired"})


@dataclass
class Row:
    """An order's row; amounts in base units."""

    id: str
    type: str
    pair: str
    amount_in: int
    status: str
    seq: int
    limit_price: Decimal | None = None
    max_price: Decimal | None = None
    time_in_force: str = "gtc"
    expires_at: datetime | None = None
    trigger: list[Json] = field(default_factory=list)
    client_order_id: str | None = None
    result: Json = field(default_factory=dict)
    amount_out: int | None = None
    """What it buys exactly; `amount_in` is then the most that it may spend."""


@dataclass
class Attempt:
    """A signed transaction that was committed."""

    order_id: str
    number: int
    state: str
    signature: str


@dataclass
class Execution:
    """A line of the chain's ledger: what everybody can read of a transaction it executed."""

    signature: str
    slot: int
    landing: str
    amount_out: int
    fee_lamports: int
    memo: str
    venue: str
    amount_in: int
    minimum_out: int
    maximum_in: int | None = None
    """Of a transaction that pays an exact amount: the most it may take for it."""

    @property
    def order_id(self) -> str:
        """Whose it is, as its memo says."""
        return self.memo.rpartition(":")[0]


@dataclass
class Answer:
    """A request of a client and what it was answered; status 0 for no answer."""

    verb: str
    asked: Json
    status: int
    body: Json
    asked_at: float = 0.0
    answered_at: float = 0.0


@dataclass
class Told:
    """One message of a story, and when it came (epoch seconds of the client's clock)."""

    at: float
    message: Json


@dataclass
class World:
    """One run, as it is known after the calm."""

    rows: dict[str, Row] = field(default_factory=dict)
    events: dict[str, list[Json]] = field(default_factory=dict)
    """Event rows of each order as they would be sent, in the order of seq."""
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    decimals: dict[str, int] = field(default_factory=dict)
    """Decimals of each token, by symbol and by mint."""
    posts: list[Answer] = field(default_factory=list)
    deletes: list[Answer] = field(default_factory=list)
    pair_deletes: list[Answer] = field(default_factory=list)
    patches: list[Answer] = field(default_factory=list)
    stories: dict[tuple[str, str], list[Told]] = field(default_factory=dict)
    """What each follower was told of each order: by (follower, order)."""
    read_orders: dict[str, Json] = field(default_factory=dict)
    read_events: dict[str, list[Json]] = field(default_factory=dict)
    best: dict[str, list[tuple[float, Decimal]]] = field(default_factory=dict)
    """BEST less fee of each pair, as clients read it: (when, price)."""
    faults: list[Json] = field(default_factory=list)
    calm_over: float = 0.0
    """Epoch seconds at which the calm was over: by then every order is to be final, or to rest rightly."""

    @property
    def accepted(self) -> dict[str, Answer]:
        """The first 202 of each order."""
        found: dict[str, Answer] = {}
        for post in self.posts:
            if post.status == 202:
                found.setdefault(str(post.body["orderId"]), post)
        return found

    def tokens(self, pair: str) -> tuple[int, int]:
        """Return the decimals of what a pair sells and of what it buys."""
        sold, bought = pair.split("-")
        return self.decimals[sold], self.decimals[bought]


def units(amount: Any, decimals: int) -> int:
    """Return whole tokens, as they are written, in base units."""
    return int(Decimal(str(amount)).scaleb(decimals))


def price_of(amount_in: int, amount_out: int, decimals: tuple[int, int]) -> Fraction:
    """Return whole tokens out per whole token in, exactly."""
    return Fraction(amount_out, 10 ** decimals[1]) / Fraction(amount_in, 10 ** decimals[0])


def moment(at: datetime) -> str:
    """Write a moment as events do: RFC 3339 in UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def normal(event: Json) -> Json:
    """Return an event in the one form that is compared: without an epoch it is of epoch 0."""
    return {"epoch": 0, **event}


COMMON = frozenset({"orderId", "epoch", "seq", "status", "at", "attempt"})


def facts(event: Json) -> Json:
    """Return what an event states besides what every event has."""
    return {name: value for name, value in event.items() if name not in COMMON}
