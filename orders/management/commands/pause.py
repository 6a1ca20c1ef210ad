"""`manage.py pause`: pause a pair, a venue, a user, an API key or everything; accepted orders still execute."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from orders.flow import pauses
from orders.management import asking, operator
from orders.models import Pause, PauseState, Scope
from routing.catalogue import catalogue


class Command(asking.StoresCommand):
    """Pauses; a row in Postgres is all it takes, so no other process has to answer."""

    help = "Refuse new orders and fire none that rest; what was accepted still executes. `resume` ends it."
    name, state = "pause", PauseState.PAUSED

    def add_arguments(self, parser: CommandParser) -> None:
        operator.add_what(parser)
        parser.add_argument("--reason", required=True, help="shown to refused clients, and in the admin")
        operator.add_by(parser)

    def handle(self, *, what: tuple[Scope, str], reason: str, by: str, **options: Any) -> None:
        """Write the row and say what is in force."""
        self.stop(what, reason, by)

    def stop(self, what: tuple[Scope, str], reason: str, by: str, *, cancels_resting: bool = False) -> Pause:
        """Pause or halt.

        Raises CommandError.
        """
        try:
            row = pauses.pause(*what, reason, by, self.state, cancels_resting=cancels_resting)
        except pauses.CannotPause as refusal:
            raise CommandError(str(refusal), returncode=2) from None
        self.stdout.write(str(pauses.stop_of(row)))
        opposite = "-".join(reversed(what[1].split("-")))
        if what[0] is Scope.PAIR and self.state is not PauseState.REDUCING and opposite in catalogue().pairs:
            self.stdout.write(f"{opposite}, the other direction, goes on unless it is stopped, too")
        cancels = "; resting orders are cancelled" if cancels_resting else ""
        operator.record(by, self.name, row, f"{row.state}{cancels}", reason)
        return row
