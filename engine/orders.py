"""The order itself."""

from dataclasses import dataclass
from enum import StrEnum

from engine.money import less_bps
from engine.quotes import Pair


class OrderType(StrEnum):
    """How an order decides when to execute."""

    MARKET = "market"


SLIPPAGE_DEFAULT_BPS = 50
SLIPPAGE_MAX_BPS = 5_000
CLIENT_ORDER_ID_MAX = 64


@dataclass(frozen=True, slots=True)
class Order:
    """What a client asked for; `amount_in` is in base units of `pair.token_in`."""

    id: str
    type: OrderType
    pair: Pair
    amount_in: int
    slippage_bps: int
    client_order_id: str | None = None

    def minimum_out(self, expected_out: int) -> int:
        """Return the least this order accepts, in base units of `pair.token_out`, rounded down; at least 1."""
        return max(1, less_bps(expected_out, self.slippage_bps))
