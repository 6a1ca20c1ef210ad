"""`manage.py watch ORDER_ID`: follow an order that is already there, through the public API alone."""

import json
import shlex
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from engine.lifecycle import FINAL, Status
from orders.management import client, story
from orders.management.client import Json, Placed

EXIT_CODES = (
    "Exit codes: 0 confirmed; 1 failed, cancelled or expired; 2 refused, unreachable or not final in time; 130 Ctrl-C."
)

Words = Callable[[Json], str]


class Follower(BaseCommand):
    """Shows an order's events as they come, for the commands that do."""

    # A client needs neither store: no check may look for one.
    requires_system_checks: list[str] = []

    def follow(
        self, placed: Placed, url: str, words: Words, *, began: float, timeout: float | None, after: int = 0
    ) -> str:
        """Show every event past `after` in these words; return the final status.

        `began` is on the monotonic clock, `timeout` in seconds from then, None for as long as it takes.  Raises
        CommandError when time runs out or the order cannot be followed.
        """
        deadline = None if timeout is None else began + timeout
        status = str(placed.answer["status"])
        try:
            for event in client.follow(placed.links["ws"], deadline, after=after, away=self.away):
                status = event["status"]
                self.show(words(event))
        except client.Refused as reason:
            raise CommandError(f"order {placed.order_id} cannot be followed: {reason}", returncode=2) from None
        except client.Unfinished as trouble:
            raise CommandError(unfinished(placed, timeout, str(trouble)), returncode=2) from None
        except KeyboardInterrupt:
            # The terminal has just shown ^C on this line.
            self.stderr.write(f"\n{farewell(placed, url, status)}")
            sys.exit(client.INTERRUPTED)
        return status

    def show(self, text: str) -> None:
        """Write one line, at once: a pipe would hold it back."""
        self.stdout.write(text)
        self.stdout.flush()

    def away(self, trouble: str) -> None:
        """Say that the engine stays away: a silent terminal would look like an order that rests."""
        self.stderr.write(f"the engine does not answer ({trouble}); trying again until it does")


class Command(Follower):
    """Follows one order."""

    help = f"Follow an order's stages, from the first, until it is final. {EXIT_CODES}"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what may be asked."""
        parser.add_argument("order_id", type=UUID, metavar="ORDER_ID", help="the order to follow")
        parser.add_argument("--after", type=int, default=0, metavar="N", help="show only what follows the event N")
        parser.add_argument("--timeout", type=float, help="seconds to follow it (default: no limit)")
        parser.add_argument("--json", action="store_true", help="write one event per line as JSON and nothing else")
        client.add_url(parser)

    def handle(self, *, order_id: UUID, after: int, timeout: float | None, url: str, **options: Any) -> None:
        """Find, follow, and exit with what became of it."""
        began = time.monotonic()
        try:
            placed = client.found(url, str(order_id))
        except client.Refused as reason:
            raise CommandError(str(reason), returncode=reason.exit_code) from None
        if not options["json"]:
            self.show(head(placed))
        words = as_json if options["json"] else story.dated
        status = placed.answer["status"]
        if status not in FINAL or placed.answer["seq"] > after:
            status = self.follow(placed, url, words, began=began, timeout=timeout, after=after)
        if status != Status.CONFIRMED:
            sys.exit(1)


def head(placed: Placed) -> str:
    """Name an order that is found again, and how it stands."""
    return f"order {placed.order_id}: {placed.answer['status']}, last event {placed.answer['seq']}"


def as_json(event: Json) -> str:
    """Write an event as one line for scripts."""
    return json.dumps(event, ensure_ascii=False)


def unfinished(placed: Placed, timeout: float | None, trouble: str) -> str:
    """Say that time ran out, that the order goes on, and where to look."""
    last = f" (last trouble: {trouble})" if trouble else ""
    return f"order {placed.order_id} is not final after {timeout:g} s{last}; it goes on: {placed.links['self']}"


def farewell(placed: Placed, url: str, status: str) -> str:
    """Say what becomes of an order that nobody watches any more, and how to come back to it."""
    if not placed.waits:
        return f"Order {placed.order_id} goes on without you: {placed.links['self']}"
    goes_on = "rests on" if status == Status.PENDING else "goes on"
    return f"Order {placed.order_id} {goes_on} without you.\n{ways_on(placed, url)}"


def ways_on(placed: Placed, url: str) -> str:
    """Name the commands that watch an order and, as long as it may rest, cancel it."""
    verbs = ["watch", *(["cancel"] if placed.waits else [])]
    return "\n".join(f"{f'{verb} it:':<10} {command(verb, placed.order_id, *client.at(url))}" for verb in verbs)


def command(*words: str) -> str:
    """Write a command as it is typed."""
    return shlex.join(["python3", "manage.py", *words])
