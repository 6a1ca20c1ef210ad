"""Market orders at an even pace; each must be confirmed, with every stage told once and in order.

.venv/bin/locust -f tests/load/scenarios/market.py --headless --host http://127.0.0.1:8000
"""

from tests.load.scenarios.prices import amount_of, pair_of
from tests.load.scenarios.running import scenario
from tests.load.scenarios.thresholds import Thresholds
from tests.load.scenarios.trader import Pace, Trader

__all__ = ["MarketTrader", "Pace"]

SLIPPAGE_BPS = 500
"""The mock venues move by up to 12 bps a second, so that an order of less could rightly be refused by the chain."""

scenario("market", Thresholds())


class MarketTrader(Trader):
    """Sells and buys in turn."""

    def trade(self, number: int) -> str:
        """Place a market order and see it confirmed."""
        token_in, token_out = pair_of(self.environment.parsed_options, number)
        story = self.place(
            {
                "type": "market",
                "tokenIn": token_in,
                "tokenOut": token_out,
                "amount": amount_of(token_in, number),
                "slippageBps": SLIPPAGE_BPS,
            }
        )
        with self.following(story) as watch:
            watch.to_end("confirmed")
        return "market"
