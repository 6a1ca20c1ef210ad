"""`manage.py amend ORDER_ID`: change a resting order, through the public API only."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orders.client import Order, Refused
from orders.management import engine
from orders.management.commands.cancel import unmoved
from orders.management.commands.watch import command, found
from orders.operations import story

NEVER, NONE = "never", "none"

EXIT_CODES = (
    "Exit codes: 0 amended; 1 not amended: it changed meanwhile or no longer rests; 2 refused or unreachable; "
    "130 Ctrl-C."
)


class Command(BaseCommand):
    """Amends one order."""

    help = f"Amend a resting order. {EXIT_CODES}"
    # A client command uses neither store, so no system check may require one.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("order_id", type=UUID, metavar="ORDER_ID", help="the order to amend")
        parser.add_argument("--price", metavar="P", help="limit order: minimum tokenOut per tokenIn")
        parser.add_argument("--amount", metavar="A", help="how much to sell, in whole tokens")
        parser.add_argument(
            "--expires",
            type=when,
            metavar="WHEN",
            help="90s, 10m, 2h, 1d, a time such as 2026-11-22T18:00:00Z, or never",
        )
        parser.add_argument("--max-price", metavar="P", help="sniper order: maximum tokenIn per tokenOut, or none")
        parser.add_argument(
            "--seq",
            type=int,
            metavar="N",
            help="amend only if N is still the last event (default: the current one)",
        )
        engine.add_url(parser)

    def handle(self, *, order_id: UUID, url: str, seq: int | None, **options: Any) -> None:
        """Amend the order, report what changed, and set the exit code."""
        asked = changes(options, datetime.now(UTC))
        if not asked:
            raise CommandError("give what to change: --price, --amount, --expires or --max-price", returncode=2)
        try:
            self.amend(url, str(order_id), seq, asked)
        except Refused as reason:
            raise CommandError(str(reason), returncode=2) from None

    def amend(self, url: str, order_id: str, seq: int | None, asked: Mapping[str, Any]) -> None:
        """Send the changes, conditional on the order's last event.

        Raises Refused, CommandError.
        """
        last = found(url, order_id).seq if seq is None else seq
        doubt = f"order {order_id} may have been amended; check it before you repeat it."
        try:
            order = engine.ask(url, lambda client: client.amend(order_id, last, **asked), doubt=doubt)
            self.stdout.write(outcome(order, last))
        except Refused as reason:
            if reason.code not in (engine.CHANGED, engine.NOT_RESTING):
                raise
            now = found(url, order_id)
            self.stderr.write(f"order {order_id} was not amended: {overtaken(now, last, reason.code, url)}")
            sys.exit(1)


def when(text: str) -> timedelta | str:
    """Parse --expires.

    Raises ArgumentTypeError.
    """
    return text if text == NEVER else engine.expiry(text)


def changes(options: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the changes: only the options that were given, None for a value to be removed."""
    asked = {
        "limit_price": options["price"],
        "amount": options["amount"],
        "expires_at": options["expires"] and engine.expires_at(options["expires"], now),
        "max_price": options["max_price"],
    }
    return {name: None if value in (NEVER, NONE) else value for name, value in asked.items() if value is not None}


def outcome(order: Order, seq: int) -> str:
    """Describe what changed in an order whose last event was `seq`."""
    name = f"order {order.order_id}"
    if order.seq == seq:
        return f"{name} already has these terms: nothing changed"
    if order.seq == seq + 1 and order.result.get("kind") == "amended":
        return f"{name} {story.amended(order.result)}; last event {order.seq}"
    # The amendment was event seq + 1; at its new price the order may have triggered before this answer was written.
    return f"{name} amended; it is now {order.status}, last event {order.seq}"


def overtaken(order: Order, seq: int, code: str, url: str) -> str:
    """Say why an order was not amended, its current status, and how to see the events in between."""
    if code == engine.NOT_RESTING:
        return unmoved(order)
    look = command("watch", order.order_id, "--after", str(seq), *engine.at(url))
    return f"it changed meanwhile; it is {order.status}, its last event {order.seq} and not {seq}.\nSee: {look}"
