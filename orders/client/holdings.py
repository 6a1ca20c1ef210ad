"""What an account has, and what its fills have come to, as frozen values; decimals in whole tokens."""

from dataclasses import dataclass
from decimal import Decimal

from .reading import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance(Value):
    """What an account has of a token; `value` is in US dollars, none while no venue quotes it."""

    token: str
    total: Decimal
    reserved: Decimal
    available: Decimal
    value: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Balances(Value):
    """What an account has."""

    results: tuple[Balance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position(Value):
    """What an account's fills in one market have come to; money is in `quote_token`.

    `price`, `value` and `unrealised` are none without a fresh price, `average_cost` while nothing is held.
    """

    token: str
    quote_token: str
    amount: Decimal
    average_cost: Decimal | None
    cost: Decimal
    price: Decimal | None
    value: Decimal | None
    unrealised: Decimal | None
    realised: Decimal
    bought: Decimal
    spent: Decimal
    sold: Decimal
    received: Decimal
    uncosted: Decimal
    fees: Decimal
    shortfall: Decimal
    shortfall_bps: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions(Value):
    """What an account's fills have come to."""

    results: tuple[Position, ...]
