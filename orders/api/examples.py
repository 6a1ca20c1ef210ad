"""Examples for the API's description: requests, orders and events, as the engine writes them."""

from typing import Any

from engine.event_kinds import (
    Amended,
    Building,
    Cancelled,
    Change,
    ConditionMet,
    Confirmed,
    Expired,
    Facts,
    Failed,
    Fees,
    Head,
    MarketEvent,
    MarketSeen,
    Offer,
    Pending,
    PriceSeen,
    Retry,
    Returned,
    Routing,
    Submitted,
    TokenCheck,
    Triggered,
    Wait,
)
from engine.orders import OrderType, TimeInForce
from orders.stores import event_codec

TX_HASH = "5hGL7oSXA652ScKtq4FabQJrCu7HE2vitHtJDBLKhxowwyQ6wfNjRZGCGXJ6uxcvL1KdnyLwqZDTUfKUVBFLHut3"
ORDER_ID = "019d3f0e-6a51-7c4e-9b1a-2f5f0a8d2c11"
AT = "2026-11-22T12:00:00.000Z"
LATER = "2026-12-24T12:00:00.000Z"
MINT = "7vfCXTUXx5WJV5JADk17DUJ4ksgau7utNKj4b963voxs"
ADDRESSES = {
    "self": f"http://localhost:8000/api/orders/{ORDER_ID}",
    "events": f"http://localhost:8000/api/orders/{ORDER_ID}/events",
    "ws": f"ws://localhost:8000/ws/{ORDER_ID}",
}

MARKET = {
    "type": "market",
    "tokenIn": "SOL",
    "tokenOut": "USDC",
    "amount": "1.5",
    "slippageBps": 50,
    "clientOrderId": "rebalance-2026-11-22",
}
EXACT = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "amountOut": "200"}
LIMIT = {
    "type": "limit",
    "tokenIn": "SOL",
    "tokenOut": "USDC",
    "amount": "1.5",
    "limitPrice": "160",
    "clientOrderId": "take-profit-7",
}
SNIPER = {
    "type": "sniper",
    "tokenIn": "SOL",
    "tokenOut": MINT,
    "amount": "0.5",
    "slippageBps": 300,
    "trigger": [
        {"kind": "liquidity", "atLeast": "50000"},
        {"kind": "volume", "atLeast": "10000", "windowS": 60},
    ],
    "maxPrice": "0.00004",
    "clientOrderId": "snipe-7vfC",
}
TICKET = {"ticket": "lQ0s1ySVzXg3bK5xWl9Jd0Zq4rT7uYhC2mNpEvAoF8k", "expiresAt": AT}
BATCH = {"orders": [MARKET, LIMIT]}
AMENDMENT = {"limitPrice": "158.5", "expiresAt": None}

ACKNOWLEDGED = {"orderId": ORDER_ID, "status": "pending", "createdAt": AT, "links": ADDRESSES}
RESTING = {
    "orderId": ORDER_ID,
    "clientOrderId": "take-profit-7",
    "type": "limit",
    "pair": "SOL-USDC",
    "tokenIn": "SOL",
    "tokenOut": "USDC",
    "amount": "1.5",
    "amountOut": None,
    "slippageBps": 50,
    "deadline": None,
    "limitPrice": "160",
    "maxPrice": None,
    "timeInForce": "gtc",
    "expiresAt": None,
    "trigger": None,
    "allowUnknown": None,
    "status": "pending",
    "seq": 1,
    "epoch": 1,
    "attempt": 0,
    "createdAt": AT,
    "updatedAt": AT,
    "venue": None,
    "txHash": None,
    "result": {"kind": "pending"},
    "replayOf": None,
    "resting": {"best": "154.8896", "ageMs": 310, "awayBps": "329.94"},
    "links": ADDRESSES,
}
AMENDED = RESTING | {
    "limitPrice": "158.5",
    "seq": 2,
    "result": {"kind": "amended", "amended": {"limitPrice": {"from": "160", "to": "158.5"}}},
    "resting": {"best": "154.8896", "ageMs": 340, "awayBps": "233.1"},
}
CANCELLED = RESTING | {
    "status": "cancelled",
    "seq": 2,
    "result": {"kind": "cancelled", "reason": "cancelled by the client"},
    "resting": None,
}

ESTIMATE = {
    "type": "limit",
    "pair": "SOL-USDC",
    "tokenIn": "SOL",
    "tokenOut": "USDC",
    "amount": "1.5",
    "amountOut": None,
    "slippageBps": 50,
    "fill": {
        "venue": "METEORA",
        "reason": "METEORA pays 21.40 bps more than RAYDIUM after fees and impact",
        "price": "155.2",
        "feeBps": 20,
        "fee": "0.003",
        "expectedPrice": "154.88",
        "expectedIn": "1.5",
        "maximumIn": "1.5",
        "expectedOut": "232.32",
        "minimumOut": "240",
        "impactBps": "0.62",
        "ageMs": 310,
        "fresh": True,
        "quotes": [
            {
                "venue": "METEORA",
                "price": "155.2",
                "feeBps": 20,
                "netPrice": "154.8896",
                "ageMs": 310,
                "amountOut": "232.32",
            }
        ],
    },
    "limit": {"limitPrice": "160", "best": "154.8896", "ageMs": 310, "awayBps": "329.94", "leastOut": "240"},
    "sniper": None,
    "problem": None,
}

Life = tuple[tuple[int, Facts], ...]
"""The attempt and the facts of each event."""

EXECUTED: Life = (
    (
        1,
        Routing(
            venue="METEORA",
            reason="METEORA pays 0.21 % more than RAYDIUM after fees",
            source="best",
            quotes=(
                Offer("METEORA", "155.2", 20, "154.8896", 310, "232.33"),
                Offer("RAYDIUM", "154.95", 25, "154.562625", 280, "231.84"),
            ),
            missing=(),
        ),
    ),
    (1, Building("METEORA", expected_out="232.33", minimum_out="231.16", quoted_price="154.88")),
    (1, Submitted("METEORA", TX_HASH, last_valid_block_height=1150)),
    (
        1,
        Confirmed(
            venue="METEORA",
            tx_hash=TX_HASH,
            slot=1003,
            amount_in="1.5",
            amount_out="232.31",
            executed_price="154.873333333",
            slippage_bps="0.86",
            fees=Fees(20, "0.003", "SOL", 5000),
        ),
    ),
)
FILLED: Life = ((0, Pending(OrderType.MARKET, "SOL-USDC", "1.5", 50, deadline=LATER)), *EXECUTED)
HALTED: Life = (
    *FILLED[:3],
    (1, Cancelled("cancelled by the operator before it was sent: trading is halted: wrong prices", "halted")),
)
RETRIED: Life = (*FILLED[:4], (1, Retry(Wait("slippage_exceeded", "the pool moved past 231.16", 412))))
AIM = Pending(
    OrderType.LIMIT, "SOL-USDC", "1.5", 50, limit_price="160", time_in_force=TimeInForce.GTD, expires_at=LATER
)
BELOW = "METEORA, the best venue, pays 232.1 USDC, less than the 232.8 of the order's own price"
RETURNED: Life = (
    (0, AIM),
    (0, Amended({"limitPrice": Change("160", "154.5"), "expiresAt": Change(LATER, None)})),
    (0, Triggered(PriceSeen("METEORA", "154.8896", limit_price="154.5", observed_at=AT, age_ms=310, polls=2))),
    (1, Returned(Wait("price_gone", BELOW, 500))),
    (1, Cancelled("cancelled by the client")),
)
EXPIRED: Life = ((0, AIM), (0, Expired("expiresAt has passed", LATER)))
REFUSED: Life = (
    (
        0,
        Pending(
            type=OrderType.SNIPER,
            pair=f"SOL-{MINT}",
            amount_in="0.5",
            slippage_bps=300,
            max_price="0.00004",
            time_in_force=TimeInForce.GTC,
            trigger=[{"kind": "liquidity", "atLeast": "50000"}],
        ),
    ),
    (
        0,
        Triggered(
            MarketSeen(
                MarketEvent("1795348800000-0", "liquidity", "RAYDIUM", "52000", AT, 12),
                (ConditionMet("liquidity", "52000", at_least="50000"),),
            ),
            gates=(
                TokenCheck("mintAuthority", "none", "token", "pass", "renounced"),
                TokenCheck("freezeAuthority", "none", "token", "pass", "renounced"),
                TokenCheck("liquidity", "52000", "market", "pass", "at least 10000 USD"),
                TokenCheck("topHolder", None, "token", "refuse", "unknown"),
            ),
        ),
    ),
    (0, Failed("gate_refused", "the token was refused: topHolder: unknown", replay_may_help=False)),
)
LIVES = (FILLED, HALTED, RETRIED, RETURNED, EXPIRED, REFUSED)
"""Together they have every kind of event."""


def told(life: Life) -> dict[str, Any]:
    """Write a life as the events its clients read."""
    events = [
        event_codec.as_dict(Head(ORDER_ID, 1, seq, facts.status, AT, attempt), facts)
        for seq, (attempt, facts) in enumerate(life, 1)
    ]
    return {"orderId": ORDER_ID, "rewoundTo": None, "events": events}


WELL = {"postgres": "ok", "redis": "ok", "quotes": "ok", "workers": "ok"}
READY = {"status": "ready", "parts": WELL}
DEGRADED = {"status": "degraded", "parts": {**WELL, "workers": "no limit worker answers"}}
UNSEEN = {"quotes": "unknown while a store is unavailable", "workers": "unknown while a store is unavailable"}
REDIS_AWAY = "connection refused; orders are accepted and wait until it is back"
WITHOUT_REDIS = {"status": "degraded", "parts": {"postgres": "ok", "redis": REDIS_AWAY, **UNSEEN}}
POSTGRES_AWAY = "connection refused; no order can be accepted"
NOT_READY = {
    "error": {"code": "not_ready", "message": f"postgres: {POSTGRES_AWAY}", "fields": []},
    "parts": {"postgres": POSTGRES_AWAY, "redis": "ok", **UNSEEN},
}
