"""Sniper orders at an even pace: met at once, on a trade that comes, by an amendment, on a launch, and cancelled.

.venv/bin/locust -f tests/load/scenarios/sniper.py --headless --host http://127.0.0.1:8000

What the market shows is asked of `POST /api/orders/estimate`, so the conditions suit any market in which `TOKENS` are
traded now and then, as they are in the mock market.  A launch needs a hand in the market: `--launch` names a command;
without one, the orders that wait for a launch are cancelled.
"""

import shlex
import subprocess
from decimal import Decimal

from solders.keypair import Keypair

from tests.load.scenarios.prices import amount_of
from tests.load.scenarios.running import scenario
from tests.load.scenarios.story import Json, Wrong
from tests.load.scenarios.thresholds import Thresholds
from tests.load.scenarios.trader import FILLED, Pace, Trader, Watch

__all__ = ["Pace", "SniperTrader"]

TOKENS = ("JUP", "RAY", "BONK", "WIF")
PLANS = ("liquidity", "trade", "liquidity", "amended", "both", "cancelled", "trade", "liquidity", "launch", "both")
"""What becomes of ten orders."""
SLIPPAGE_BPS = 500
TRADE_S = 60.0
"""How long a trade is waited for; a mock token is traded in every fourth second, by chance."""
WINDOW_S = 2
"""How long a trade counts for an order that waits for one: seldom there when the order comes."""
LAUNCH_S = 60.0
LAUNCH_ONE_IN = 3
"""Rounds with a launch: each token launched is polled for ever after."""

scenario("sniper", Thresholds())


class SniperTrader(Trader):
    """Has each order do what its turn is."""

    def trade(self, number: int) -> str:
        """Arm a sniper order, have it go its way, and see it end."""
        plan = PLANS[number % len(PLANS)]
        token = TOKENS[(number + number // len(PLANS)) % len(TOKENS)]
        order = {
            "type": "sniper",
            "tokenIn": "SOL",
            "tokenOut": token,
            "amount": amount_of("SOL", number),
            "slippageBps": SLIPPAGE_BPS,
        }
        ways = {
            "liquidity": lambda: self.fires(order | {"trigger": self.liquidity(order)}),
            "trade": lambda: self.fires(order | {"trigger": self.traded(WINDOW_S)}),
            "both": lambda: self.fires(order | {"trigger": [*self.liquidity(order), *self.traded(60)]}),
            "amended": lambda: self.is_amended(order | {"trigger": self.traded(60)}),
            "cancelled": lambda: self.is_cancelled(order | {"tokenOut": new_mint(), "trigger": {"kind": "launch"}}),
            "launch": lambda: self.waits_for_launch(order, number // len(PLANS)),
        }
        ways[plan]()
        return f"sniper, {plan}"

    def fires(self, order: Json) -> None:
        """See an order filled whose conditions are met now, or soon."""
        with self.following(self.place(order)) as watch:
            self.see_filled(watch)

    def is_amended(self, order: Json) -> None:
        """See an order filled once it may pay what the token costs."""
        story = self.place(order | {"maxPrice": "0.000000001"})
        with self.following(story) as watch:
            watch.next()
            if not self.amend(story, maxPrice="1000000"):
                raise story.wrong("could not be amended, though it may pay next to nothing and must rest")
            self.see_filled(watch)
        if "amended" not in story.heard[1].raw:
            raise story.wrong("was amended and never told so")

    def is_cancelled(self, order: Json) -> None:
        """See an order cancelled that waits for a token nobody has launched."""
        story = self.place(order)
        with self.following(story) as watch:
            watch.next()
            self.cancel(story)
            watch.to_end("cancelled")

    def waits_for_launch(self, order: Json, turn: int) -> None:
        """See an order filled that waits for a token to be launched, if somebody can launch one."""
        command, mint = self.environment.parsed_options.launch, new_mint()
        order = order | {"tokenOut": mint, "trigger": {"kind": "launch"}}
        if not command or turn % LAUNCH_ONE_IN:
            self.is_cancelled(order)
            return
        with self.following(self.place(order)) as watch:
            watch.next()
            launch(command, mint)
            if not watch.wait_for(FILLED, within_s=LAUNCH_S):
                raise watch.story.wrong(f"did not fire within {LAUNCH_S:g} s after its token was launched")
            watch.to_end("confirmed")

    def see_filled(self, watch: Watch) -> None:
        """Wait for the market, then see the order filled.

        Raises Wrong.
        """
        if not watch.wait_for(FILLED, within_s=TRADE_S):
            raise watch.story.wrong(f"did not fire within {TRADE_S:g} s")
        watch.to_end("confirmed")

    def liquidity(self, order: Json) -> list[Json]:
        """Return a condition that holds: half of what the token's pools are worth.

        Raises Wrong.
        """
        asked = order | {"trigger": {"kind": "liquidity", "atLeast": "1"}}
        seen = self.call("POST", "/api/orders/estimate", 200, json=asked)["sniper"]["conditions"][0]
        worth = Decimal(seen["value"])
        return [{"kind": "liquidity", "atLeast": f"{max(Decimal(1), worth // 2):f}"}]

    def traded(self, window_s: int) -> list[Json]:
        """Return a condition that holds after any trade, for so many seconds."""
        return [{"kind": "volume", "atLeast": "1", "windowS": window_s}]


def new_mint() -> str:
    """Return the address of a token that nobody knows."""
    return str(Keypair().pubkey())


def launch(command: str, mint: str) -> None:
    """Have a token launched.

    Raises Wrong when the command fails.
    """
    words = [word.replace("{mint}", mint) for word in shlex.split(command)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LAUNCH_S, check=False)
    if done.returncode:
        raise Wrong(f"{shlex.join(words)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
