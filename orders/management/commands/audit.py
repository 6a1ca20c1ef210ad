"""`manage.py audit`: verify that history is as it was recorded."""

import sys
import time
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError

from orders.management import postgres
from orders.operations import audit
from orders.operations.audit import Verdict
from orders.stores.seals import NONE, Head

SHOWN = 50
"""Wrong rows that are listed; the rest are counted."""
SAY_EVERY_S = 2.0


class Command(BaseCommand):
    """Verifies history."""

    help = "Verify history. Exit codes: 0 as recorded; 1 something is wrong; 2 Postgres unreachable."

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

    def handle(self, *, what: str, **options: Any) -> None:
        """Do what is asked."""
        postgres.reach()
        try:
            self.verify(**options)
        except OperationalError as reason:
            raise postgres.unreachable(reason) from None

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
