"""`manage.py audit`: list what operators did, and verify that history is as it was recorded."""

import sys
import time
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q
from django.utils import timezone

from orders.management import asking, engine
from orders.management.commands.deadletters import table
from orders.models import Act
from orders.operations import audit
from orders.operations.audit import Verdict
from orders.stores.seals import NONE, Head

ROWS = 50
SHOWN = 50
"""Wrong rows that are listed; the rest are counted."""
SAY_EVERY_S = 2.0


class Command(asking.StoresCommand):
    """Lists acts and verifies history."""

    help = "List operators' acts, or verify history. Exit codes: 0 as recorded; 1 something is wrong; 2 unreachable."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        verify = what.add_parser("verify", help="find events, acts and seals that were altered, deleted or inserted")
        verify.add_argument(
            "--head",
            type=head,
            default=NONE,
            metavar="NUMBER:HASH",
            help="a head noted earlier, which must still stand",
        )

        listing = what.add_parser("list", help="list what operators did, newest first")
        listing.add_argument("--who", default="", help="only acts of this operator")
        listing.add_argument("--what", dest="words", default="", help="only acts with this in what, which or outcome")
        listing.add_argument("--since", type=engine.expiry, help="such as 2h, 7d or 2026-11-22")
        listing.add_argument("--limit", type=int, default=ROWS, help="number of rows (default: %(default)s)")

    def handle(self, *, what: str, **options: Any) -> None:
        """Do what is asked."""
        self.show(**options) if what == "list" else self.verify(**options)

    def show(self, *, who: str, words: str, since: timedelta | str | None, limit: int, **_: Any) -> None:
        """Write the table."""
        told = Q(what__icontains=words) | Q(subject__icontains=words) | Q(outcome__icontains=words)
        rows = Act.objects.filter(told, who__icontains=who).order_by("-pk")
        if since:
            rows = rows.filter(at__gte=moment_of(since))
        head = ("at (UTC)", "who", "from", "what", "which", "outcome", "reason")
        found = [described(act) for act in rows[: max(1, limit)]]
        self.stdout.write(table([head, *found]) if found else "There are no such acts.")

    def verify(self, *, head: Head, **_: Any) -> None:
        """Verify, say how it goes, and exit with 1 if anything is wrong."""
        result, said_at = Verdict(), time.monotonic()
        for result in audit.verify(head):
            if time.monotonic() - said_at > SAY_EVERY_S:
                said_at = time.monotonic()
                self.stderr.write(f"{read(result)} so far")
        for one in result.wrong[:SHOWN]:
            self.stdout.write(one)
        if len(result.wrong) > SHOWN:
            self.stdout.write(f"and {len(result.wrong) - SHOWN:,} more")
        self.stdout.write(f"{read(result)}; not sealed: {result.moving:,} not ended, {result.before:,} from before")
        self.stdout.write(f"head {result.head}")
        if result.wrong:
            sys.exit(1)


def described(act: Act) -> tuple[str, ...]:
    return (f"{act.at:%Y-%m-%d %H:%M:%S}", act.who, act.origin, act.what, act.subject, act.outcome, act.reason)


def moment_of(since: timedelta | str) -> datetime:
    """Return the time that --since means.

    Raises CommandError.
    """
    if isinstance(since, timedelta):
        return timezone.now() - since
    try:
        at = datetime.fromisoformat(since)
    except ValueError:
        raise CommandError(f"--since {since!r} is no time", returncode=2) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def read(result: Verdict) -> str:
    return f"{result.seals:,} seals verified: {result.orders:,} orders, {result.acts:,} acts"


def head(text: str) -> Head:
    """Parse --head.

    Raises ArgumentTypeError.
    """
    number, _, hashed = text.partition(":")
    try:
        return Head(int(number), bytes.fromhex(hashed))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no head, such as 1234:5f2c...; `audit verify` ends with one") from None
