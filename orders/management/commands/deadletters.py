"""`manage.py deadletters`: list orders that failed for good, newest first."""

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from orders.flow import dead_letters
from orders.flow.dead_letters import LETTERS, OPEN, Outlook
from orders.management import asking
from orders.models import DeadLetter
from orders.operations import replays
from orders.operations.words import NOTHING, age, asked

ROWS = 50
REASON_WIDTH = 80


class Command(asking.StoresCommand):
    """Lists dead letters."""

    help = "List dead letters that were not replayed, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--replay", choices=Outlook.values, help="only letters with this replay outlook")
        parser.add_argument("--all", action="store_true", help="also those that were replayed, with the outcome")
        parser.add_argument("--limit", type=int, default=ROWS, help="number of rows (default: %(default)s)")

    def handle(self, *, replay: str | None, limit: int, **options: Any) -> None:
        """Write the table."""
        letters = DeadLetter.objects.select_related("order__owner").prefetch_related("order__replayed_as")
        letters = letters.filter(LETTERS[Outlook(replay)]) if replay else letters
        letters = letters if replay or options["all"] else letters.filter(OPEN)
        rows = [row(letter) for letter in letters.order_by("-pk")[: max(1, limit)]]
        if not rows:
            which = f" with replay outlook {replay}" if replay else "" if options["all"] else " that were not replayed"
            self.stdout.write(f"There are no dead letters{which}.")
            return
        head = ("order", "failed at (UTC)", "age", "pair", "amount", "owner", "replay", "code", "replayed as", "reason")
        self.stdout.write(table([head, *rows]))


def row(letter: DeadLetter) -> tuple[str, ...]:
    again = replays.again(letter)
    return (
        str(letter.order_id),
        f"{letter.created_at:%Y-%m-%d %H:%M:%S}",
        age(letter.created_at, timezone.now()),
        letter.order.pair,
        asked(letter.order),
        replays.owner(letter.order),
        str(dead_letters.outlook(letter).label),
        letter.code,
        " ".join([str(again), str(again.status), replays.outcome(again)]).rstrip() if again else NOTHING,
        letter.reason[:REASON_WIDTH],
    )


def table(rows: list[tuple[str, ...]]) -> str:
    """Align columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(r, widths, strict=True)).rstrip() for r in rows)
