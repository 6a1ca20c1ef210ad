"""`manage.py cancel`: cancel resting orders, one by one or all of a pair, through the public API only."""

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from engine.lifecycle import Status
from engine.orders import OrderType, TimeInForce
from orders.client import Order, Refused
from orders.management import engine
from orders.management.commands.watch import found

CANCELLED, LOST, REFUSED, ALREADY = "cancelled", "no longer resting", "refused", "already cancelled"

EXIT_CODES = (
    "Exit codes: 0 all cancelled, now or before; 1 some no longer rested; "
    "2 refused (such as no such order) or unreachable; 130 Ctrl-C."
)


class Command(BaseCommand):
    """Cancels orders."""

    help = f"Cancel resting orders. {EXIT_CODES}"
    # A client command uses neither store, so no system check may require one.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("order_ids", nargs="*", type=UUID, metavar="ORDER_ID", help="the orders to cancel")
        parser.add_argument(
            "--pair", help="instead: all resting orders of this pair, such as SOL-USDC, or '*' for every pair"
        )
        parser.add_argument(
            "--type",
            choices=[str(OrderType.LIMIT), str(OrderType.SNIPER)],
            help="with --pair: only this type",
        )
        engine.add_url(parser)

    def handle(self, *, order_ids: list[UUID], pair: str | None, url: str, **options: Any) -> None:
        """Cancel the orders, report each outcome, and set the exit code."""
        if bool(order_ids) == bool(pair) or (options["type"] and not pair):
            raise CommandError("give order ids, or --pair with or without --type", returncode=2)
        try:
            code = self.sweep(url, pair, options["type"]) if pair else self.each(url, [str(one) for one in order_ids])
        except Refused as reason:
            raise CommandError(str(reason), returncode=2) from None
        if code:
            sys.exit(code)

    def sweep(self, url: str, pair: str, kind: str | None) -> int:
        """Cancel all resting orders of a pair; return the exit code."""
        doubt = "some orders may have been cancelled; repeating is safe."
        done = engine.ask(url, lambda client: client.cancel_all(pair, kind), doubt=doubt)
        self.stdout.write(f"{done.pair}: {done.cancelled} {CANCELLED}, {done.lost} {LOST}")
        if not done.complete:
            self.stdout.write("Stopped before the end; run it again for the rest.")
        return 1 if done.lost or not done.complete else 0

    def each(self, url: str, order_ids: list[str]) -> int:
        """Cancel these orders, each independently of the others; return the exit code."""
        outcomes = Counter(self.cancel(url, order_id) for order_id in order_ids)
        if len(order_ids) > 1:
            self.stdout.write(summary(outcomes))
        if outcomes[REFUSED]:
            return 2
        return 1 if outcomes[LOST] else 0

    def cancel(self, url: str, order_id: str) -> str:
        """Cancel one order and return the outcome; the reason for a refusal goes to standard error.

        Raises CommandError if the engine cannot be reached at all.
        """
        doubt = f"order {order_id} may have been cancelled; repeating is safe."
        try:
            engine.ask(url, lambda client: client.cancel(order_id), doubt=doubt)
        except Refused as reason:
            return self.kept(url, order_id, reason)
        self.stdout.write(f"{order_id} {CANCELLED}")
        return CANCELLED

    def kept(self, url: str, order_id: str, reason: Refused) -> str:
        """Report why an order was not cancelled: the status that won, or the engine's refusal."""
        if reason.code != engine.NOT_RESTING:
            self.stderr.write(f"{order_id} was not cancelled: {reason}")
            return REFUSED
        now = found(url, order_id)
        if now.status == Status.CANCELLED:
            self.stdout.write(f"{order_id} {ALREADY}")
            return ALREADY
        self.stderr.write(f"{order_id} was not cancelled: {unmoved(now)}")
        return LOST


def unmoved(order: Order) -> str:
    """Say why an order could not be cancelled or amended: it never rests, or another status won."""
    if order.status != Status.PENDING:
        return f"it no longer rests, it is {order.status}"
    if not order.waits or order.time_in_force == TimeInForce.IOC:
        return "it never rests: it executes at once or not at all"
    # Between the two requests it returned to the book: the price had moved before it was filled.
    return "it had fired and rests again; try again"


def summary(outcomes: Mapping[str, int]) -> str:
    """Count the outcomes; rare ones appear only if there were any."""
    words = [CANCELLED, LOST, *(word for word in (ALREADY, REFUSED) if outcomes[word])]
    return ", ".join(f"{outcomes[word]} {word}" for word in words)
