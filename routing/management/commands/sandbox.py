"""`manage.py sandbox`: change the sandbox while the engine runs."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing import outages
from routing.store import StoreError
from routing.venues import VENUES


class Command(BaseCommand):
    """Takes sandbox venues down and brings them back."""

    help = "Change the sandbox while the engine runs."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what may be asked."""
        what = parser.add_subparsers(dest="what", required=True)
        venue = what.add_parser("venue", help="take a venue down or bring it back, for every process")
        venue.add_argument("venue", metavar="VENUE", help=f"one of {', '.join(VENUES)}")
        venue.add_argument("state", choices=["up", "down"])

    def handle(self, *, venue: str, state: str, **options: Any) -> None:
        """Pass the order on, and confirm it."""
        venue = venue.upper()
        try:
            outages.put(venue, state)
        except outages.UnknownVenue as reason:
            raise CommandError(str(reason), returncode=2) from None
        except StoreError as reason:
            raise CommandError(f"Redis cannot be reached; is `manage.py up` running?\n{reason}", returncode=2) from None
        self.stdout.write(f"{venue} is {state} from now on, for every process.")
