"""`manage.py order market|limit|sniper`: place an order and watch it, through the public API only."""

import argparse
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from engine.lifecycle import Status
from engine.orders import OrderType, TimeInForce
from orders.client import Condition, LimitOrder, MarketOrder, NewOrder, Placed, Refused, SniperOrder, launch, liquidity
from orders.client import volume as traded
from orders.management import engine
from orders.management.commands.watch import EXIT_CODES, Follower, as_json, ways_on
from orders.management.engine import Json
from orders.operations import story

MARKET_TIMEOUT_S = 60.0
PLACED_CODES = f"{EXIT_CODES} With --no-watch: 0 placed."

EXPIRES = "how long it may rest: 90s, 10m, 2h, 1d or a time such as 2026-11-22T18:00:00Z (default: until cancelled)"


class Command(Follower):
    """Places one order and shows its stages live."""

    help = f"Place an order and show its stages live. {PLACED_CODES}"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare one subcommand per order type."""
        kinds = parser.add_subparsers(dest="type", metavar="TYPE", required=True)
        add_market(kinds)
        add_limit(kinds)
        add_sniper(kinds)

    def handle(self, *, url: str, timeout: float | None, **options: Any) -> None:
        """Place the order, follow it, and set the exit code by its outcome."""
        began = time.monotonic()
        try:
            placed = place(url, new_order(options, datetime.now(UTC)))
        except Refused as reason:
            raise CommandError(str(reason), returncode=2) from None
        waits = options["type"] != OrderType.MARKET
        if not options["watch"]:
            left = f"{head(placed)}\n{ways_on(placed, url, waits=waits)}"
            self.show(as_json(placed.raw) if options["json"] else left)
            return
        if not options["json"]:
            self.show(head(placed))

        def timed(event: Json) -> str:
            return story.line(event, time.monotonic() - began)

        words = as_json if options["json"] else timed
        if self.follow(placed, url, words, waits=waits, began=began, timeout=timeout) != Status.CONFIRMED:
            sys.exit(1)


def add_market(kinds: Any) -> None:
    parser = add_kind(kinds, OrderType.MARKET, "sell immediately at the best price")
    parser.add_argument("--amount-out", metavar="Q", help="buy exactly Q of TOKEN_OUT; AMOUNT is then the most to sell")
    parser.add_argument("--timeout", type=float, default=MARKET_TIMEOUT_S, help="seconds to follow it (%(default)g)")


def add_limit(kinds: Any) -> None:
    parser = add_kind(kinds, OrderType.LIMIT, "sell as soon as the price reaches the limit")
    parser.add_argument("--price", required=True, metavar="P", help="minimum TOKEN_OUT per TOKEN_IN")
    parser.add_argument("--tif", choices=[str(one) for one in TimeInForce], help="ioc: immediate or cancel")
    add_patience(parser)


def add_sniper(kinds: Any) -> None:
    parser = add_kind(kinds, OrderType.SNIPER, "buy a token as soon as its conditions hold")
    wanted = parser.add_argument_group("conditions; at least one, and all must hold")
    wanted.add_argument("--launch", action="store_true", help="the token's first pool appears")
    wanted.add_argument("--liquidity", metavar="USD", help="its pools are worth at least this")
    wanted.add_argument("--volume", type=volume, metavar="USD/SECONDS", help="at least this is traded within this time")
    parser.add_argument("--max-price", metavar="P", help="maximum TOKEN_IN per TOKEN_OUT")
    parser.add_argument("--allow-unknown", action="store_true", help="buy even if a token check's value is unknown")
    add_patience(parser)


def add_kind(kinds: Any, kind: OrderType, purpose: str) -> argparse.ArgumentParser:
    """Declare an order type, with the arguments that every type takes."""
    parser: argparse.ArgumentParser = kinds.add_parser(
        str(kind), help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}. {PLACED_CODES}"
    )
    parser.add_argument("token_in", metavar="TOKEN_IN", help="what to sell, by symbol or mint")
    parser.add_argument("token_out", metavar="TOKEN_OUT", help="what to buy, by symbol or mint")
    parser.add_argument("amount", metavar="AMOUNT", help="how much to sell, in whole tokens")
    parser.add_argument("--slippage-bps", type=int, help="how far below the quote the fill may be, in bps")
    parser.add_argument("--client-order-id", help="your id for the order; repeating it never places a second order")
    parser.add_argument("--no-watch", dest="watch", action="store_false", help="place the order and exit")
    parser.add_argument(
        "--json", action="store_true", help="write each event and rewind as one line of JSON, and nothing else"
    )
    engine.add_url(parser)
    return parser


def add_patience(parser: argparse.ArgumentParser) -> None:
    """Declare how long the order may rest, and how long to watch it."""
    parser.add_argument("--expires", type=engine.expiry, metavar="WHEN", help=EXPIRES)
    parser.add_argument("--timeout", type=float, help="seconds to follow it (default: until it is final)")


def volume(text: str) -> Condition:
    """Parse --volume.

    Raises ArgumentTypeError.
    """
    least, _, seconds = text.partition("/")
    if not (least and seconds.isascii() and seconds.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not USD/SECONDS, such as 10000/60")
    return traded(least, int(seconds))


def place(url: str, order: NewOrder) -> Placed:
    """Post an order.

    Raises Refused, CommandError.
    """
    doubt = (
        "the order may have been accepted.\n"
        f"Check {url}/api/orders before you repeat it; with --client-order-id, repeating is always safe."
    )
    return engine.ask(url, lambda client: client.place(order), doubt=doubt)


def new_order(options: Mapping[str, Any], now: datetime) -> NewOrder:
    """Make the order from the arguments. The engine validates those given, and chooses the others.

    Raises CommandError for a sniper order without a condition.
    """
    common = {name: options[name] for name in ("token_in", "token_out", "amount", "slippage_bps", "client_order_id")}
    if options["type"] == OrderType.MARKET:
        return MarketOrder(**common, amount_out=options["amount_out"])
    expires_at = options["expires"] and engine.expires_at(options["expires"], now)
    if options["type"] == OrderType.LIMIT:
        return LimitOrder(**common, limit_price=options["price"], time_in_force=options["tif"], expires_at=expires_at)
    return SniperOrder(
        **common,
        trigger=trigger(options),
        max_price=options["max_price"],
        expires_at=expires_at,
        allow_unknown=options["allow_unknown"] or None,
    )


def trigger(options: Mapping[str, Any]) -> Condition | tuple[Condition, ...]:
    """Return a sniper order's trigger: one condition, or several.

    Raises CommandError when there is none.
    """
    asked = (
        launch() if options["launch"] else None,
        liquidity(options["liquidity"]) if options["liquidity"] else None,
        options["volume"],
    )
    wanted = tuple(one for one in asked if one)
    if not wanted:
        raise CommandError(
            "a sniper order needs at least one condition: --launch, --liquidity or --volume", returncode=2
        )
    return wanted[0] if len(wanted) == 1 else wanted


def head(placed: Placed) -> str:
    return f"order {placed.order_id}"
