"""`manage.py replay`: replay the order of one dead letter as a new order, or of all that are safe."""

import sys
from collections import Counter
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from orders.flow import dead_letters
from orders.flow.dead_letters import LETTERS, Outlook
from orders.management import operator, postgres
from orders.models import DeadLetter

ALL_MAX = 1_000
"""Maximum number of letters that one run with --all-safe replays."""
REPLAYED, REFUSED, ALREADY = "replayed", "refused", "already replayed"


class Command(BaseCommand):
    """Replays dead letters."""

    help = (
        "Replay dead letters as new orders. "
        "Exit codes: 0 all replayed, now or before; 1 some refused; 2 no such dead letter, or Postgres unreachable."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("order_id", nargs="?", type=UUID, metavar="ORDER_ID", help="the order that failed")
        which.add_argument(
            "--all-safe",
            action="store_true",
            help="all that are safe to replay, may succeed and were not replayed",
        )
        operator.add_reason(parser)
        operator.add_by(parser)

    def handle(self, *, order_id: UUID | None, by: str, reason: str, **options: Any) -> None:
        """Replay the letters, report each outcome, and exit with 1 if any was refused."""
        postgres.reach()
        try:
            outcomes = Counter(self.replay(one, by, reason) for one in ([str(order_id)] if order_id else safe()))
        except OperationalError as away:
            raise postgres.unreachable(away) from None
        self.stdout.write(summary(outcomes))
        if outcomes.total() == ALL_MAX:
            self.stdout.write(f"Stopped at {ALL_MAX}; run it again for the rest.")
        if outcomes[REFUSED]:
            sys.exit(1)

    def replay(self, order_id: str, by: str, why: str) -> str:
        """Replay one letter and return the outcome; the reason for a refusal goes to standard error."""
        try:
            placed = dead_letters.replay(order_id, by)
        except DeadLetter.DoesNotExist:
            raise CommandError(
                f"order {order_id} has no dead letter; `manage.py deadletters` lists them", returncode=2
            ) from None
        except dead_letters.NotSafe as reason:
            self.stderr.write(f"refused: {reason}")
            operator.record(by, "replay", order_id, f"refused: {reason}", why)
            return REFUSED
        outcome = ALREADY if placed.repeat else REPLAYED
        self.stdout.write(f"{order_id} {outcome} as {placed.order_id}")
        if not placed.repeat:
            operator.record(by, "replay", order_id, f"replayed as {placed.order_id}", why)
        return outcome


def summary(outcomes: Counter[str]) -> str:
    """Count the outcomes; repeats, which are rare, appear only if there were any."""
    words = [REPLAYED, REFUSED, *([ALREADY] if outcomes[ALREADY] else [])]
    return ", ".join(f"{outcomes[word]} {word}" for word in words)


def safe() -> list[str]:
    """Return orders whose letters are safe to replay as far as is known; each is checked again when replayed."""
    letters = DeadLetter.objects.filter(LETTERS[Outlook.SAFE], replayed_at=None).order_by("pk")
    return [str(order_id) for order_id in letters.values_list("order_id", flat=True)[:ALL_MAX]]
