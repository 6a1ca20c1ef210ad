"""`manage.py cancelall`: cancel the resting orders of any account, as an operator."""

import sys
import time
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import OperationalError

from engine.orders import OrderType
from orders.flow.waiting import Cancelled
from orders.management import asking, engine, operator
from orders.operations import bulk_cancels
from orders.operations.bulk_cancels import KINDS, CannotMatch, Terms
from routing.store import StoreError

SAY_EVERY_S = 2.0


class Command(asking.StoresCommand):
    """Counts what matches, asks, cancels page by page, and says how it goes."""

    help = (
        "Cancel the resting orders of any account that match every term given, after a count and a question. "
        "Exit codes: 0 all cancelled; 1 some no longer rested, or are left; 2 refused or unreachable."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--owner", default="", help="only orders of this user")
        parser.add_argument("--pair", default="", help="only this pair, such as SOL-USDC")
        parser.add_argument("--type", dest="kind", type=OrderType, choices=KINDS, help="only this type")
        parser.add_argument("--older-than", type=engine.duration, help="only orders older than this, such as 90s or 2h")
        parser.add_argument("--reason", required=True, help="shown to the owners of the orders, and in the audit log")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        operator.add_by(parser)

    def handle(self, *, older_than: timedelta | None, by: str, reason: str, **options: Any) -> None:
        """Cancel, and exit with 1 if any order is left or was lost."""
        before = bulk_cancels.older_than(older_than) if older_than else None
        terms = Terms(options["owner"], options["pair"], options["kind"], before)
        try:
            found = bulk_cancels.count(terms)
            self.stdout.write(f"{bulk_cancels.counted(found)} {terms}")
            if not found or not (options["yes"] or confirmed()):
                return
            done = self.cancel(terms, by, reason)
        except CannotMatch as wrong:
            raise CommandError(str(wrong), returncode=2) from None
        if done.lost or not done.complete:
            sys.exit(1)

    def cancel(self, terms: Terms, by: str, reason: str) -> Cancelled:
        """Cancel page by page; what was done is said and put on record however it ends.

        Raises CommandError, CannotMatch.
        """
        done, said_at = Cancelled(0, 0, complete=False), time.monotonic()
        try:
            for done in bulk_cancels.cancel(terms, reason):
                if time.monotonic() - said_at > SAY_EVERY_S:
                    said_at = time.monotonic()
                    self.stderr.write(f"{done.cancelled:,} cancelled so far")
        except (StoreError, OperationalError) as away:
            raise CommandError(f"a store is unavailable: {away}\nRun it again for the rest.", returncode=2) from None
        except KeyboardInterrupt:
            raise CommandError("interrupted; run it again for the rest", returncode=engine.INTERRUPTED) from None
        finally:
            self.stdout.write(bulk_cancels.outcome(done))
            operator.record(by, "cancel resting orders", terms, bulk_cancels.outcome(done), reason)
        return done


def confirmed() -> bool:
    """Ask whether to go on.

    Raises CommandError where nobody can answer.
    """
    if not sys.stdin.isatty():
        raise CommandError("nothing is cancelled: nobody can be asked here; give --yes to cancel them", returncode=2)
    return input("Cancel them? [y/N] ").strip().lower() in ("y", "yes")
