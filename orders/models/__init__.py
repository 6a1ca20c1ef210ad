"""Tables of orders, their events, their attempts and their dead letters: Postgres is the source of truth.

Amounts are base units; `numeric(20)` holds any u64.
"""

from orders.models.api_key import ApiKey
from orders.models.attempt import Attempt
from orders.models.audit import Act, Seal, SealKind
from orders.models.balance import Balance
from orders.models.ended import ArchivedOrder, DeadLetter, Verdict
from orders.models.journal import JournalRow
from orders.models.operator_changes import Guard, IncidentNote, Pause, PauseState, Scope
from orders.models.order import (
    AMENDED,
    BUYS_SQL,
    FINALS,
    MOVING,
    MOVING_SQL,
    WAITING,
    WAITING_SQL,
    Order,
    OrderEvent,
    standing_at,
)
from orders.models.position import Position
from orders.models.set_aside import SetAside
from orders.models.trading_limits import LimitKind, LimitScope, TradingLimit, TradingLimitHold, TradingLimitUse
from orders.models.webhook import Webhook, WebhookState

__all__ = [
    "AMENDED",
    "BUYS_SQL",
    "FINALS",
    "MOVING",
    "MOVING_SQL",
    "WAITING",
    "WAITING_SQL",
    "Act",
    "ApiKey",
    "ArchivedOrder",
    "Attempt",
    "Balance",
    "DeadLetter",
    "Guard",
    "IncidentNote",
    "JournalRow",
    "LimitKind",
    "LimitScope",
    "Order",
    "OrderEvent",
    "Pause",
    "PauseState",
    "Position",
    "Scope",
    "Seal",
    "SealKind",
    "SetAside",
    "TradingLimit",
    "TradingLimitHold",
    "TradingLimitUse",
    "Verdict",
    "Webhook",
    "WebhookState",
    "standing_at",
]
