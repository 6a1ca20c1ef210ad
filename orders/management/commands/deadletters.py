"""`manage.py deadletters`: list orders that failed for good, newest first."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError

from orders.flow import dead_letters
from orders.management import postgres
from orders.models import DeadLetter

ROWS = 50
REASON_WIDTH = 80


class Command(BaseCommand):
    """Lists dead letters."""

    help = "List dead letters, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--replay", choices=dead_letters.Outlook.values, help="only letters with this replay outlook"
        )
        parser.add_argument("--limit", type=int, default=ROWS, help="number of rows (default: %(default)s)")

    def handle(self, *, replay: str | None, limit: int, **options: Any) -> None:
        """Write the table."""
        postgres.reach()
        letters = DeadLetter.objects.select_related("order").prefetch_related("order__replayed_as").order_by("-pk")
        letters = letters.filter(dead_letters.LETTERS[dead_letters.Outlook(replay)]) if replay else letters
        try:
            rows = [row(letter) for letter in letters[: max(1, limit)]]
        except OperationalError as reason:
            raise postgres.unreachable(reason) from None
        if not rows:
            self.stdout.write("There are no dead letters" + (f" with replay outlook {replay}." if replay else "."))
            return
        head = ("order", "failed at (UTC)", "replay", "code", "replayed as", "reason")
        self.stdout.write(table([head, *rows]))


def row(letter: DeadLetter) -> tuple[str, ...]:
    again = next(iter(letter.order.replayed_as.all()), None)
    return (
        str(letter.order_id),
        f"{letter.created_at:%Y-%m-%d %H:%M:%S}",
        str(dead_letters.outlook(letter).label),
        letter.code,
        str(again or "-"),
        letter.reason[:REASON_WIDTH],
    )


def table(rows: list[tuple[str, ...]]) -> str:
    """Align columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(r, widths, strict=True)).rstrip() for r in rows)
