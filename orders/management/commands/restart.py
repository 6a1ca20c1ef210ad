"""`manage.py restart`: restart a role, one process after another, without losing what they have in hand."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from orders.management import operator
from orders.operations import restarts

WITHIN_S = 300.0
LOOK_EVERY_S = 0.2


class Command(BaseCommand):
    """Asks the launcher, and waits until it has done it."""

    help = (
        "Restart a role that `manage.py up` runs: each of its processes ends what it has in hand and starts again, one "
        "after another. Exit codes: 0 restarted; 1 not ready again, or not in time; 2 no launcher, or no such role."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", help="such as order, api or beat")
        operator.add_reason(parser)
        operator.add_by(parser)

    def handle(self, *, role: str, reason: str, by: str, **options: Any) -> None:
        """Ask, wait, and say what came of it."""
        try:
            before = restarts.processes().get(role, [])
            restarts.ask(role)
        except (restarts.NoLauncher, restarts.CannotRestart) as refusal:
            raise CommandError(str(refusal), returncode=2) from None
        outcome, done = self.wait(role, before)
        operator.record(by, "restart role", role, outcome, reason)
        if not done:
            raise CommandError(f"{role}: {outcome}; see launcher.log and {role}.log", returncode=1)
        self.stdout.write(f"{role}: {outcome}")

    def wait(self, role: str, before: list[int]) -> tuple[str, bool]:
        """Return what came of it, once the launcher is done or WITHIN_S is over."""
        deadline = time.monotonic() + WITHIN_S
        while restarts.is_asked(role):
            if time.monotonic() > deadline:
                return f"not over after {WITHIN_S:.0f} s", False
            time.sleep(LOOK_EVERY_S)
        try:
            left = set(before) & set(restarts.processes().get(role, []))
        except restarts.NoLauncher:
            return "the launcher has ended meanwhile", False
        if left:
            return f"{len(left)} of {len(before)} processes were not restarted", False
        return f"restarted, {len(before)} process{'' if len(before) == 1 else 'es'}", True
