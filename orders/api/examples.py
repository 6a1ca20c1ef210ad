"""Examples for the API's description: requests, orders and events, as the engine writes them."""

from typing import Any

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
    "result": {},
    "replayOf": None,
    "resting": {"best": "154.8896", "ageMs": 310, "awayBps": "329.94"},
    "links": ADDRESSES,
}
AMENDED = RESTING | {
    "limitPrice": "158.5",
    "seq": 2,
    "result": {"amended": {"limitPrice": {"from": "160", "to": "158.5"}}},
    "resting": {"best": "154.8896", "ageMs": 340, "awayBps": "233.1"},
}
CANCELLED = RESTING | {
    "status": "cancelled",
    "seq": 2,
    "result": {"reason": "cancelled by the client"},
    "resting": None,
}

ESTIMATE = {
    "type": "limit",
    "pair": "SOL-USDC",
    "tokenIn": "SOL",
    "tokenOut": "USDC",
    "amount": "1.5",
    "slippageBps": 50,
    "fill": {
        "venue": "METEORA",
        "reason": "METEORA pays 21.40 bps more than RAYDIUM after fees and impact",
        "price": "155.2",
        "feeBps": 20,
        "fee": "0.003",
        "expectedPrice": "154.88",
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

Life = tuple[tuple[str, int, dict[str, Any]], ...]
"""Status, attempt and facts of each event."""

EXECUTED: Life = (
    (
        "routing",
        1,
        {
            "venue": "METEORA",
            "reason": "METEORA pays 0.21 % more than RAYDIUM after fees",
            "source": "best",
            "quotes": [
                {
                    "venue": "METEORA",
                    "price": "155.2",
                    "feeBps": 20,
                    "netPrice": "154.8896",
                    "ageMs": 310,
                    "amountOut": "232.33",
                },
                {
                    "venue": "RAYDIUM",
                    "price": "154.95",
                    "feeBps": 25,
                    "netPrice": "154.562625",
                    "ageMs": 280,
                    "amountOut": "231.84",
                },
            ],
            "missing": [],
        },
    ),
    ("building", 1, {"venue": "METEORA", "expectedOut": "232.33", "minimumOut": "231.16", "quotedPrice": "154.88"}),
    ("submitted", 1, {"venue": "METEORA", "txHash": TX_HASH, "lastValidBlockHeight": 1150}),
    (
        "confirmed",
        1,
        {
            "venue": "METEORA",
            "txHash": TX_HASH,
            "slot": 1003,
            "amountIn": "1.5",
            "amountOut": "232.31",
            "executedPrice": "154.873333333",
            "slippageBps": "0.86",
            "fees": {"venueFeeBps": 20, "venueFee": "0.003", "venueFeeToken": "SOL", "networkFeeLamports": 5000},
        },
    ),
)
FILLED: Life = (
    ("pending", 0, {"type": "market", "pair": "SOL-USDC", "amountIn": "1.5", "slippageBps": 50, "deadline": LATER}),
    *EXECUTED,
)
AIM = {
    "type": "limit",
    "pair": "SOL-USDC",
    "amountIn": "1.5",
    "slippageBps": 50,
    "limitPrice": "160",
    "timeInForce": "gtd",
    "expiresAt": LATER,
}
RETURNED: Life = (
    ("pending", 0, AIM),
    (
        "pending",
        0,
        {"amended": {"limitPrice": {"from": "160", "to": "154.5"}, "expiresAt": {"from": LATER, "to": None}}},
    ),
    (
        "triggered",
        0,
        {
            "trigger": {
                "kind": "price",
                "venue": "METEORA",
                "price": "154.8896",
                "limitPrice": "154.5",
                "observedAt": AT,
                "ageMs": 310,
                "polls": 2,
            }
        },
    ),
    (
        "pending",
        1,
        {
            "returned": {
                "code": "price_gone",
                "message": "METEORA, the best venue, pays 232.1 USDC, less than the 232.8 of the order's own price",
                "inMs": 500,
            }
        },
    ),
    ("cancelled", 1, {"reason": "cancelled by the client"}),
)
EXPIRED: Life = (("pending", 0, AIM), ("expired", 0, {"reason": "expiresAt has passed", "expiresAt": LATER}))
GIVEN_UP = {"value": "none", "source": "token", "verdict": "pass", "reason": "it has been given up"}
REFUSED: Life = (
    (
        "pending",
        0,
        {
            "type": "sniper",
            "pair": f"SOL-{MINT}",
            "amountIn": "0.5",
            "slippageBps": 300,
            "maxPrice": "0.00004",
            "timeInForce": "gtc",
            "trigger": [{"kind": "liquidity", "atLeast": "50000"}],
        },
    ),
    (
        "triggered",
        0,
        {
            "trigger": {
                "kind": "market",
                "event": {
                    "id": "1795348800000-0",
                    "kind": "liquidity",
                    "venue": "RAYDIUM",
                    "usd": "52000",
                    "at": AT,
                    "ageMs": 12,
                },
                "conditions": [{"kind": "liquidity", "atLeast": "50000", "value": "52000"}],
            },
            "gates": [
                {"gate": "mintAuthority", **GIVEN_UP},
                {"gate": "freezeAuthority", **GIVEN_UP},
                {
                    "gate": "liquidity",
                    "value": "52000",
                    "source": "market",
                    "verdict": "pass",
                    "reason": "at least 10000 USD",
                },
                {"gate": "topHolder", "value": None, "source": "token", "verdict": "refuse", "reason": "unknown"},
            ],
        },
    ),
    (
        "failed",
        0,
        {"code": "gate_refused", "message": "the token was refused: topHolder: unknown", "replayMayHelp": False},
    ),
)


def told(life: Life) -> dict[str, Any]:
    """Write a life as the events its clients read."""
    events = [
        {"orderId": ORDER_ID, "epoch": 1, "seq": seq, "status": status, "at": AT, "attempt": attempt, **facts}
        for seq, (status, attempt, facts) in enumerate(life, 1)
    ]
    return {"orderId": ORDER_ID, "rewoundTo": None, "events": events}


WELL = {"postgres": "ok", "redis": "ok", "quotes": "ok", "workers": "ok"}
READY = {"status": "ready", "parts": WELL}
DEGRADED = {"status": "degraded", "parts": {**WELL, "workers": "NobodyWorks: no worker for limit"}}
REDIS_AWAY = "ConnectionError: Error 111 connecting to 127.0.0.1:6379. Connection refused."
NOT_READY = {
    "error": {"code": "not_ready", "message": f"redis: {REDIS_AWAY}", "fields": []},
    "parts": {
        "postgres": "ok",
        "redis": REDIS_AWAY,
        "quotes": "unknown while a store is away",
        "workers": "unknown while a store is away",
    },
}
