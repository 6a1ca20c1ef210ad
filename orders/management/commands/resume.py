"""`manage.py resume`: end a pause, a halt or a reduction."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from orders.flow import pauses
from orders.management import asking, operator
from orders.models import Scope


class Command(asking.StoresCommand):
    """Resumes."""

    help = "End a pause, a halt or a reduction. Exit codes: 0 ended; 2 nothing to end, or Postgres unreachable."

    def add_arguments(self, parser: CommandParser) -> None:
        operator.add_what(parser)
        parser.add_argument("--reason", default="", help="for the audit log")
        operator.add_by(parser)

    def handle(self, *, what: tuple[Scope, str], by: str, reason: str, **options: Any) -> None:
        """Delete the row; what is still in force is listed."""
        scope, name = what
        row = pauses.find(scope, name)
        if row is None:
            raise CommandError(f"{name or scope} is not paused or halted", returncode=2)
        pauses.resume(row, by)
        operator.record(by, "resume", row, f"resumed; {row.by} had {row.done} it: {row.reason}", reason)
        self.stdout.write(f"{row} is resumed")
        for stop in pauses.read().stops.values():
            self.stdout.write(f"still in force: {stop}")
