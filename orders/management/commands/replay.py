"""`manage.py replay`: place the order of a dead letter anew, or of all that are safe."""

import getpass
import sys
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from orders import deadletters
from orders.models import DeadLetter, Verdict

ALL_MAX = 1_000
"""Letters that one run with --all-safe replays."""


class Command(BaseCommand):
    """Replays dead letters."""

    help = (
        "Replay dead letters as new orders. "
        "Exit codes: 0 every one was replayed; 1 some were refused; 2 there is no such letter, or no store."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what may be asked."""
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("order_id", nargs="?", type=UUID, metavar="ORDER_ID", help="the order that failed")
        which.add_argument(
            "--all-safe", action="store_true", help="all that are safe, may help and were not replayed yet"
        )
        parser.add_argument("--by", default=user(), help="whom to put on record (default: %(default)s)")

    def handle(self, *, order_id: UUID | None, by: str, **options: Any) -> None:
        """Replay, name each outcome, and exit with whether all went."""
        try:
            outcomes = [self.replay(one, by) for one in ([str(order_id)] if order_id else safe())]
        except OperationalError as reason:
            message = f"Postgres cannot be reached; is `manage.py up` running?\n{reason}"
            raise CommandError(message, returncode=2) from None
        self.stdout.write(f"{sum(outcomes)} replayed, {len(outcomes) - sum(outcomes)} refused")
        if len(outcomes) == ALL_MAX:
            self.stdout.write(f"Stopped at {ALL_MAX}; run it again for the rest.")
        if not all(outcomes):
            sys.exit(1)

    def replay(self, order_id: str, by: str) -> bool:
        """Replay one letter; False, with the reason on standard error, when that would not be right."""
        try:
            new_id = deadletters.replay(order_id, by)
        except DeadLetter.DoesNotExist:
            raise CommandError(
                f"order {order_id} has no dead letter; `manage.py deadletters` lists those there are", returncode=2
            ) from None
        except deadletters.NotSafe as reason:
            self.stderr.write(f"refused: {reason}")
            return False
        self.stdout.write(f"{order_id} replayed as {new_id}")
        return True


def safe() -> list[str]:
    """Return orders whose letters may be replayed as far as is known; replaying judges each anew."""
    letters = DeadLetter.objects.filter(verdict=Verdict.SAFE, replay_may_help=True, replayed_at=None).order_by("pk")
    return [str(order_id) for order_id in letters.values_list("order_id", flat=True)[:ALL_MAX]]


def user() -> str:
    """Return who runs this."""
    try:
        return getpass.getuser()
    # A container may run under a number that no account has.
    except (OSError, KeyError):
        return "command"
