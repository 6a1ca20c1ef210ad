"""A client of the API in Python, by itself: nothing of the engine's server is loaded with it.

async with Client("http://127.0.0.1:8000") as client:
    async for told in client.execute(MarketOrder(token_in="SOL", token_out="USDC", amount=Decimal("1.5"))):
        print(f"back to {told.to}" if isinstance(told, Rewound) else f"{told.seq} {told.status}")
"""

from .all_orders import Reached
from .answers import (
    CancelledAll,
    Candle,
    Candles,
    Estimate,
    Events,
    Fill,
    Level,
    Market,
    Order,
    Page,
    Pair,
    Placed,
    Quote,
    Resting,
    Token,
)
from .asked import (
    KEEP,
    Condition,
    LimitOrder,
    MarketOrder,
    NewOrder,
    SniperOrder,
    launch,
    liquidity,
    volume,
)
from .backoff import Backoff
from .client import Client
from .errors import (
    AnswerLost,
    ClientError,
    Forbidden,
    NothingFurther,
    Refused,
    Unauthorized,
    Unfinished,
    Unreachable,
    Unreadable,
    WrongField,
)
from .event import Event
from .event_kinds import (
    Amended,
    Building,
    Cancelled,
    Confirmed,
    Expired,
    Failed,
    Pending,
    Retry,
    Returned,
    Routing,
    Submitted,
    Triggered,
)
from .events import Message, Rewound
from .holdings import Balance, Position
from .sync import SyncClient

__all__ = [
    "KEEP",
    "Amended",
    "AnswerLost",
    "Backoff",
    "Balance",
    "Building",
    "Cancelled",
    "CancelledAll",
    "Candle",
    "Candles",
    "Client",
    "ClientError",
    "Condition",
    "Confirmed",
    "Estimate",
    "Event",
    "Events",
    "Expired",
    "Failed",
    "Fill",
    "Forbidden",
    "Level",
    "LimitOrder",
    "Market",
    "MarketOrder",
    "Message",
    "NewOrder",
    "NothingFurther",
    "Order",
    "Page",
    "Pair",
    "Pending",
    "Placed",
    "Position",
    "Quote",
    "Reached",
    "Refused",
    "Resting",
    "Retry",
    "Returned",
    "Rewound",
    "Routing",
    "SniperOrder",
    "Submitted",
    "SyncClient",
    "Token",
    "Triggered",
    "Unauthorized",
    "Unfinished",
    "Unreachable",
    "Unreadable",
    "WrongField",
    "launch",
    "liquidity",
    "volume",
]
