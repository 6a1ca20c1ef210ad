"""`manage.py deadletters`: what failed for good, newest first."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from orders.models import DeadLetter, Verdict

ROWS = 50
REASON_WIDTH = 80


class Command(BaseCommand):
    """Lists dead letters."""

    help = "List dead letters, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what may be asked."""
        parser.add_argument("--verdict", choices=Verdict.values, help="only these")
        parser.add_argument("--limit", type=int, default=ROWS, help="how many (default: %(default)s)")

    def handle(self, *, verdict: str | None, limit: int, **options: Any) -> None:
        """Write the table."""
        letters = DeadLetter.objects.select_related("order").prefetch_related("order__replayed_as").order_by("-pk")
        letters = letters.filter(verdict=verdict) if verdict else letters
        try:
            rows = [row(letter) for letter in letters[: max(1, limit)]]
        except OperationalError as reason:
            message = f"Postgres cannot be reached; is `manage.py up` running?\n{reason}"
            raise CommandError(message, returncode=2) from None
        if not rows:
            self.stdout.write("There are no dead letters" + (f" with the verdict {verdict}." if verdict else "."))
            return
        head = ("order", "failed at (UTC)", "verdict", "replay helps", "code", "replayed as", "reason")
        self.stdout.write(table([head, *rows]))


def row(letter: DeadLetter) -> tuple[str, ...]:
    """Make one line of the table."""
    again = next(iter(letter.order.replayed_as.all()), None)
    return (
        str(letter.order_id),
        f"{letter.created_at:%Y-%m-%d %H:%M:%S}",
        letter.verdict,
        "yes" if letter.replay_may_help else "no",
        letter.code,
        str(again or "-"),
        letter.reason[:REASON_WIDTH],
    )


def table(rows: list[tuple[str, ...]]) -> str:
    """Align columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(r, widths, strict=True)).rstrip() for r in rows)
