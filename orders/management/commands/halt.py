"""`manage.py halt`: the kill switch, for a pair, a venue, a user, an API key or everything."""

import sys
import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from orders.flow import pauses, waiting
from orders.management import operator
from orders.management.commands import pause
from orders.models import PauseState, Scope
from routing.store import StoreError


class Command(pause.Command):
    """Halts."""

    help = (
        "Stop trading: as `pause`, and within a second no accepted order is sent either. Market orders that are not "
        "sent are cancelled, limit and sniper orders rest again; sent transactions are followed to their end. "
        "`resume` ends it. Exit codes: 0 halted; 1 halted, but orders are left to cancel; 2 refused or unreachable."
    )
    name, state = "halt", PauseState.HALTED

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--cancel-resting", action="store_true", help="also cancel the orders that rest under it")

    def handle(self, *, what: tuple[Scope, str], reason: str, by: str, **options: Any) -> None:
        """Halt, then cancel once every process knows."""
        row = self.stop(what, reason, by, cancels_resting=options["cancel_resting"])
        if not row.cancels_resting:
            return
        time.sleep(pauses.KNOWN_WITHIN_S)
        try:
            done = waiting.cancel_halted(pauses.stop_of(row))
        except StoreError as away:
            raise CommandError(f"The halt stands, but resting orders are left: {away}", returncode=1) from None
        self.stdout.write(f"{done.cancelled} resting orders cancelled")
        operator.record(by, "cancel resting orders", row, f"{done.cancelled} cancelled", reason)
        if not done.complete:
            self.stdout.write("Stopped before the end; run it again for the rest.")
            sys.exit(1)
