"""The order and its terms."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

from engine.money import MATHS, less_bps, more_bps
from engine.quotes import Pair
from engine.triggers import Condition


class OrderType(StrEnum):
    """Order types; they differ in when an order executes."""

    MARKET = "market"
    LIMIT = "limit"
    SNIPER = "sniper"


class TimeInForce(StrEnum):
    """How long an order waits: until it is cancelled (GTC), until a date (GTD), or not at all (IOC)."""

    GTC = "gtc"
    GTD = "gtd"
    IOC = "ioc"


SLIPPAGE_DEFAULT_BPS = 50
SLIPPAGE_MAX_BPS = 5_000
CLIENT_ORDER_ID_MAX = 64


def waits(kind: OrderType) -> bool:
    """Tell whether orders of this type wait for a price or an event before they execute."""
    return kind is not OrderType.MARKET


@dataclass(frozen=True, slots=True)
class Order:
    """A client's order; `amount_in` is in base units of `pair.token_in`, times are in epoch milliseconds.

    With `amount_out`, base units of `pair.token_out`, a market order buys exactly that; `amount_in` is then the most
    that it may spend.

    `limit_price` is whole tokens out per whole token in, `max_price` the inverse: the most that one token out may cost.
    `owner` is the id of the account that placed it, None for orders older than accounts.  `deadline` is the time by
    which a market order must have been tried; it is set on acceptance.  `terms_seq` is the version of the terms: the
    seq of the event that last set them.
    """

    id: str
    type: OrderType
    pair: Pair
    amount_in: int
    slippage_bps: int
    client_order_id: str | None = None
    limit_price: Decimal | None = None
    max_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expires_at: int | None = None
    trigger: tuple[Condition, ...] = ()
    allow_unknown: bool = False
    deadline: int | None = None
    terms_seq: int = 1
    owner: int | None = None
    amount_out: int | None = None

    @property
    def waits(self) -> bool:
        """Tell whether the order waits for a price or an event before it executes."""
        return waits(self.type)

    @property
    def floor_out(self) -> int:
        """Return the minimum output its price allows, base units of `pair.token_out`, rounded up; 0 without a price."""
        if self.limit_price is not None:
            return self._units_out(MATHS.multiply(Decimal(self.amount_in), self.limit_price))
        if self.max_price is not None:
            return self._units_out(MATHS.divide(Decimal(self.amount_in), self.max_price))
        return 0

    def _units_out(self, scaled: Decimal) -> int:
        exact = MATHS.scaleb(scaled, self.pair.token_out.decimals - self.pair.token_in.decimals)
        return int(exact.to_integral_value(ROUND_CEILING))

    def minimum_out(self, expected_out: int) -> int:
        """Return the minimum output this order accepts, in base units of `pair.token_out`; at least 1.

        The tighter of two bounds: its slippage, rounded down, and its price, rounded up.  It is therefore never worse
        than the order's price.  An order that buys an exact amount accepts no other.
        """
        if self.amount_out is not None:
            return self.amount_out
        return max(1, less_bps(expected_out, self.slippage_bps), self.floor_out)

    def maximum_in(self, expected_in: int) -> int:
        """Return the most this order spends, in base units of `pair.token_in`.

        That is `amount_in`; for an order that buys an exact amount no more than its slippage, rounded up, allows.
        """
        return (
            self.amount_in if self.amount_out is None else min(self.amount_in, more_bps(expected_in, self.slippage_bps))
        )
