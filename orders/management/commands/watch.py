"""`manage.py watch ORDER_ID`: follow an existing order, through the public API only."""

import asyncio
import json
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from engine.lifecycle import Status
from orders.client import ClientError, Event, Order, Placed, Refused, Unauthorized, Unfinished
from orders.client.cursor import Cursor
from orders.management import engine
from orders.management.engine import Json
from orders.operations import story

EXIT_CODES = (
    "Exit codes: 0 confirmed; 1 failed, cancelled or expired; 2 refused, unreachable or not final in time; 130 Ctrl-C."
)

Words = Callable[[Json], str]
START = Cursor()
"""Before the first event."""


class Follower(BaseCommand):
    """Base of the commands that show an order's events as they arrive."""

    # A client command uses neither store, so no system check may require one.
    requires_system_checks: list[str] = []
    status = ""
    """The order's last known status; empty after a rewind withdrew it."""

    def follow(
        self,
        order: Placed | Order,
        url: str,
        words: Words,
        *,
        waits: bool,
        began: float,
        timeout: float | None,
        cursor: Cursor = START,
    ) -> str:
        """Show every event past a cursor, and every rewind, formatted by `words`; return the final status.

        `began` is on the monotonic clock, `timeout` in seconds from then, None for no limit. Raises CommandError when
        time runs out or the order cannot be followed.
        """
        within_s = None if timeout is None else began + timeout - time.monotonic()
        self.status = order.status
        try:
            asyncio.run(self.tell(order, url, words, cursor, within_s))
        except Unfinished as trouble:
            raise CommandError(unfinished(order, timeout or 0, str(trouble)), returncode=2) from None
        except Unauthorized as reason:
            raise engine.unauthorized(url, reason) from None
        except ClientError as reason:
            raise CommandError(f"order {order.order_id} cannot be followed: {reason}", returncode=2) from None
        except KeyboardInterrupt:
            # The terminal has just shown ^C on this line.
            self.stderr.write(f"\n{farewell(order, url, self.status, waits=waits)}")
            sys.exit(engine.INTERRUPTED)
        return self.status

    async def tell(self, order: Placed | Order, url: str, words: Words, cursor: Cursor, within_s: float | None) -> None:
        """Show each message as it arrives."""
        async with engine.client(url) as client:
            messages = client.follow(order, after=cursor.seq, epoch=cursor.epoch, within_s=within_s, away=self.away)
            async with aclosing(messages):
                async for message in messages:
                    self.status = message.status if isinstance(message, Event) else ""
                    self.show(words(message.raw))

    def show(self, text: str) -> None:
        """Write one line and flush it: a pipe would hold it back."""
        self.stdout.write(text)
        self.stdout.flush()

    def away(self, trouble: str) -> None:
        """Report that the engine does not answer: a silent terminal would look like a resting order."""
        self.stderr.write(f"the engine does not answer ({trouble}); retrying until it does")


class Command(Follower):
    """Follows one order."""

    help = f"Follow an order's stages, from the first, until it is final. {EXIT_CODES}"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("order_id", type=UUID, metavar="ORDER_ID", help="the order to follow")
        parser.add_argument("--after", type=int, default=0, metavar="N", help="show only events after event N")
        parser.add_argument("--epoch", type=int, default=0, metavar="E", help="epoch of event N")
        parser.add_argument("--timeout", type=float, help="seconds to follow it (default: no limit)")
        parser.add_argument(
            "--json", action="store_true", help="write each event and rewind as one line of JSON, and nothing else"
        )
        engine.add_url(parser)

    def handle(
        self, *, order_id: UUID, after: int, epoch: int, timeout: float | None, url: str, **options: Any
    ) -> None:
        """Find the order, follow it, and set the exit code by its outcome."""
        began = time.monotonic()
        try:
            order = found(url, str(order_id))
        except Refused as reason:
            raise CommandError(str(reason), returncode=2) from None
        if not options["json"]:
            self.show(head(order))
        words = as_json if options["json"] else story.dated
        status = order.status
        cursor = Cursor(after, epoch)
        if not ends_at(cursor, order):
            status = self.follow(order, url, words, waits=order.waits, began=began, timeout=timeout, cursor=cursor)
        if status != Status.CONFIRMED:
            sys.exit(1)


def found(url: str, order_id: str) -> Order:
    """Read an order's current state.

    Raises Refused, CommandError.
    """
    return engine.ask(url, lambda client: client.order(order_id), doubt="ask again.")


def ends_at(cursor: Cursor, order: Order) -> bool:
    """Tell whether a client with all events up to a cursor has the last one; epoch 0 is taken for the right one."""
    return order.final and order.seq <= cursor.seq and (cursor.epoch == 0 or order.epoch <= cursor.epoch)


def head(order: Order) -> str:
    """Name an existing order, its status and its last event."""
    return f"order {order.order_id}: {order.status}, last event {order.seq}"


def as_json(event: Json) -> str:
    """Format an event as one line of JSON for scripts."""
    return json.dumps(event, ensure_ascii=False)


def unfinished(order: Placed | Order, timeout: float, trouble: str) -> str:
    """Say that time ran out while the order goes on, and where to find it."""
    last = f" (last error: {trouble})" if trouble else ""
    return f"order {order.order_id} is not final after {timeout:g} s{last}; it continues: {order.links.self}"


def farewell(order: Placed | Order, url: str, status: str, *, waits: bool) -> str:
    """Say that the order goes on after Ctrl-C, and how to get back to it."""
    if not waits:
        return f"Order {order.order_id} continues without you: {order.links.self}"
    goes_on = "keeps resting" if status == Status.PENDING else "continues"
    return f"Order {order.order_id} {goes_on} without you.\n{ways_on(order, url, waits=waits)}"


def ways_on(order: Placed | Order, url: str, *, waits: bool) -> str:
    """Return the commands that watch an order and, if it may rest, cancel it."""
    verbs = ["watch", *(["cancel"] if waits else [])]
    return "\n".join(f"{f'{verb} it:':<10} {command(verb, order.order_id, *engine.at(url))}" for verb in verbs)


def command(*words: str) -> str:
    """Format a command as it is typed."""
    return shlex.join(["python3", "manage.py", *words])
