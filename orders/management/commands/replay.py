"""`manage.py replay`: replay the order of one dead letter as a new order, or of all that are safe."""

import sys
from collections import Counter
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from orders.flow import dead_letters
from orders.flow.dead_letters import LETTERS, Outlook
from orders.management import asking, operator
from orders.models import DeadLetter
from orders.operations import replays

ALL_MAX = 1_000
"""Maximum number of letters that one run with --all-safe replays."""
REPLAYED, REFUSED, ALREADY, WOULD = "replayed", "refused", "already replayed", "may be replayed"
DOUBTED = "could be replayed, and not be filled now"


class Command(asking.StoresCommand):
    """Replays dead letters."""

    help = (
        "Replay dead letters as new orders, or check what speaks for and against it. Exit codes: "
        "0 all replayed, now or before, or may be; 1 some refused; 2 no such dead letter, or Postgres unreachable."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("order_id", nargs="?", type=UUID, metavar="ORDER_ID", help="the order that failed")
        which.add_argument(
            "--all-safe",
            action="store_true",
            help="all that are safe to replay, may succeed and were not replayed",
        )
        doing = parser.add_mutually_exclusive_group(required=True)
        doing.add_argument("--check", action="store_true", help="replay nothing: say what speaks for it and against it")
        doing.add_argument("--reason", help="replay, for this reason; it goes into the audit log")
        operator.add_by(parser)

    def handle(self, *, order_id: UUID | None, by: str, reason: str | None, **options: Any) -> None:
        """Check or replay the letters, report each outcome, and exit with 1 if any is refused."""
        asked = [str(order_id)] if order_id else safe()
        outcomes = Counter(self.weigh(one) if reason is None else self.replay(one, by, reason) for one in asked)
        self.stdout.write(summary(outcomes))
        if outcomes.total() == ALL_MAX:
            self.stdout.write(f"Stopped at {ALL_MAX}; run it again for the rest.")
        if outcomes[REFUSED]:
            sys.exit(1)

    def weigh(self, order_id: str) -> str:
        """Say what an operator weighs before a replay; return what would come of it."""
        letter = DeadLetter.objects.select_related("order__owner").filter(order_id=order_id).first()
        if letter is None:
            raise unknown(order_id)
        found = replays.assess(letter)
        lines = [
            found.asked,
            f"failed with {letter.code}: {letter.reason}",
            f"price then: {found.then}",
            f"price now:  {found.now}",
        ]
        lines += [*found.venues, found.execution, *([f"refused now: {found.refusal}"] if found.refusal else [])]
        lines += [f"in doubt: {found.doubt}"] if found.doubt else []
        self.stdout.write("\n  ".join([order_id, *lines]))
        return REFUSED if found.refusal else DOUBTED if found.doubt else WOULD

    def replay(self, order_id: str, by: str, why: str) -> str:
        """Replay one letter and return the outcome; the reason for a refusal goes to standard error."""
        try:
            placed = dead_letters.replay(order_id, by)
        except DeadLetter.DoesNotExist:
            raise unknown(order_id) from None
        except dead_letters.NotSafe as reason:
            self.stderr.write(f"refused: {reason}")
            operator.record(by, "replay", order_id, f"refused: {reason}", why)
            return REFUSED
        outcome = ALREADY if placed.repeat else REPLAYED
        self.stdout.write(f"{order_id} {outcome} as {placed.order_id}")
        if not placed.repeat:
            operator.record(by, "replay", order_id, f"replayed as {placed.order_id}", why)
        return outcome


def unknown(order_id: str) -> CommandError:
    return CommandError(f"order {order_id} has no dead letter; `manage.py deadletters` lists them", returncode=2)


def summary(outcomes: Counter[str]) -> str:
    """Count the outcomes; those that are rare appear only if there were any."""
    checked = outcomes[WOULD] or outcomes[DOUBTED]
    words = [WOULD if checked else REPLAYED, REFUSED, *(rare for rare in (ALREADY, DOUBTED) if outcomes[rare])]
    return ", ".join(f"{outcomes[word]} {word}" for word in words)


def safe() -> list[str]:
    """Return orders whose letters are safe to replay as far as is known; each is checked again when replayed."""
    letters = DeadLetter.objects.filter(LETTERS[Outlook.SAFE]).order_by("pk")
    return [str(order_id) for order_id in letters.values_list("order_id", flat=True)[:ALL_MAX]]
