"""What every event of an order has, and the conditions that it may name."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from .reading import Value
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
    kind: str = ""
    at: datetime
    attempt: int

    @property
    def final(self) -> bool:
        """Tell whether it is the order's last."""
        return self.status in FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitsFor(Value):
    """A condition of a sniper order, in US dollars; `value` is what the market had, `met` whether it suffices."""

    kind: str
    at_least: Decimal | None = None
    window_s: int | None = None
    value: str | None = None
    met: bool | None = None
