"""Orders against a market that replays real prices."""

import json
from datetime import datetime
from decimal import Decimal

import httpx
import pytest
from websockets.sync.client import connect

from tests.market import RECORDED, recorded
from tests.system import NO_DELAYS, eventually, system

SPEED = 60
pytestmark = pytest.mark.system
BODY = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}


def test_orders_execute_within_the_venues_stated_variation_of_the_replayed_price():
    minutes = recorded()
    start = 1_700_000_000
    settings = {
        **NO_DELAYS,
        "MARKET_REPLAY": str(RECORDED),
        "MARKET_REPLAY_SPEED": str(SPEED),
        "MARKET_REPLAY_START": str(start),
    }
    with system(settings) as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        for _ in range(20):
            order = httpx.post(f"{engine.url}/api/orders/execute", json=BODY, headers=engine.headers).json()
            with connect(f"{engine.ws}/ws/{order['orderId']}", additional_headers=engine.headers) as socket:
                told = [json.loads(message) for message in socket]
            assert told[-1]["status"] == "confirmed", told
            when = datetime.fromisoformat(told[-1]["at"]).timestamp()
            minute = int((when - start) * SPEED // 60) % len(minutes)
            # The minute itself and its neighbours: the fill happened a moment before its event.
            around = [price for m in (minute - 1, minute, minute + 1) for price in minutes[m % len(minutes)]]
            # Stated: a venue strays at most 5 %; its fee is at most 25 bps and an execution falls at most 8 bps short.
            low, high = min(around) * Decimal("0.95") * Decimal("0.9967"), max(around) * Decimal("1.05")
            assert low <= Decimal(told[-1]["executedPrice"]) <= high
