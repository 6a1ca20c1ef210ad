"""`manage.py order market SOL USDC 1.5`: place an order and watch it, through the public API alone."""

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from engine.lifecycle import Status
from engine.orders import OrderType
from orders.management import client, story
from orders.management.client import Placed

TIMEOUT_S = 60.0

EXIT_CODES = (
    "Exit codes: 0 confirmed; 1 failed, cancelled or expired; 2 refused, unreachable or not final in time; 130 Ctrl-C."
)


class Command(BaseCommand):
    """Places one order and shows its stages live."""

    help = f"Place an order and show its stages live. {EXIT_CODES}"
    # A client needs neither store: no check may look for one.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what may be asked."""
        parser.add_argument("type", choices=[str(kind) for kind in OrderType])
        parser.add_argument("token_in", metavar="TOKEN_IN", help="what to sell, by symbol or mint")
        parser.add_argument("token_out", metavar="TOKEN_OUT", help="what to buy, by symbol or mint")
        parser.add_argument("amount", metavar="AMOUNT", help="how much to sell, in whole tokens")
        parser.add_argument("--slippage-bps", type=int, help="least acceptable outcome below the quote, in bps")
        parser.add_argument("--client-order-id", help="your name for the order; the same one never makes a second")
        parser.add_argument("--url", default=own_url(), help="where the engine is (default: %(default)s)")
        parser.add_argument("--timeout", type=float, default=TIMEOUT_S, help="seconds to follow it (%(default)g)")
        parser.add_argument("--json", action="store_true", help="write one event per line as JSON and nothing else")

    def handle(self, *, url: str, timeout: float, **options: Any) -> None:
        """Place, follow, and exit with what became of it."""
        began = time.monotonic()
        try:
            placed = client.place(url.rstrip("/"), body(options))
        except client.Refused as reason:
            raise CommandError(str(reason), returncode=2) from None
        except KeyboardInterrupt:
            self.leave(
                f"Interrupted before the engine answered; look at {url}/api/orders for whether it took the order."
            )
        status = self.watch(placed, began, timeout, as_json=options["json"])
        if status != Status.CONFIRMED:
            sys.exit(1)

    def watch(self, placed: Placed, began: float, timeout: float, *, as_json: bool) -> str:
        """Show every stage as it comes; return the final status."""
        status = ""
        if not as_json:
            self.stdout.write(f"order {placed.order_id}")
        try:
            for event in client.follow(placed.links["ws"], began + timeout):
                status = event["status"]
                self.show(event, time.monotonic() - began, as_json=as_json)
        except client.Refused as reason:
            raise CommandError(f"order {placed.order_id} cannot be followed: {reason}", returncode=2) from None
        except client.Unfinished as trouble:
            raise CommandError(unfinished(placed, timeout, str(trouble)), returncode=2) from None
        except KeyboardInterrupt:
            self.leave(f"Order {placed.order_id} goes on without you: {placed.links['self']}")
        return status

    def show(self, event: Mapping[str, Any], elapsed_s: float, *, as_json: bool) -> None:
        """Write one event, at once: a pipe would hold it back."""
        self.stdout.write(json.dumps(event, ensure_ascii=False) if as_json else story.line(event, elapsed_s))
        self.stdout.flush()

    def leave(self, farewell: str) -> None:
        """Exit as a program ended by Ctrl-C does."""
        self.stderr.write(f"\n{farewell}")
        sys.exit(130)


def body(options: Mapping[str, Any]) -> dict[str, Any]:
    """Write the order as the API takes it; what was not given is left to the engine."""
    asked = {
        "type": options["type"],
        "tokenIn": options["token_in"],
        "tokenOut": options["token_out"],
        "amount": options["amount"],
        "slippageBps": options["slippage_bps"],
        "clientOrderId": options["client_order_id"],
    }
    return {name: value for name, value in asked.items() if value is not None}


def own_url() -> str:
    """Return the address of the engine on this machine."""
    host = settings.ENV["ENGINE_HOST"]
    # An address that means "every interface" can be listened on, not always connected to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.ENV['ENGINE_PORT']}"


def unfinished(placed: Placed, timeout: float, trouble: str) -> str:
    """Say that time ran out, that the order goes on, and where to look."""
    last = f" (last trouble: {trouble})" if trouble else ""
    return f"order {placed.order_id} is not final after {timeout:g} s{last}; it goes on: {placed.links['self']}"
